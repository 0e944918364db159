"""The task stages of the pipeline: fetch, decode and write, each a plain callable over one shard's table."""

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from PIL import Image

from fakescan.run.parts import Sharding, part_name
from fakescan.run.schema import (
    COUNTS_KEY,
    FETCHED_SCHEMA,
    RESULT_SCHEMA,
    PartSummary,
    count_rows,
    decoded_schema,
    examples,
)
from fakescan.scan.head_start import HeadStart
from fakescan.scan.priority import FEED, yield_to
from fakescan.sources.fetch import Fetcher
from fakescan.sources.manifest import ManifestReader
from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import ImageError
from fakevlm.metrics.distortion import distort
from fakevlm.preprocess import ImageSpec, decode

# Worker processes run many shards; what is costly to open is kept by the run's id.
_fetchers: dict[str, Fetcher] = {}
_manifests: dict[str, ManifestReader] = {}


@dataclass(frozen=True)
class RunPlace:
    """Where a run stands and how it is cut; every stage gets it."""

    run_id: str
    url: str
    store: Store
    sharding: Sharding

    def manifest(self) -> ManifestReader:
        """This process's reader of the run's manifest."""
        if self.run_id not in _manifests:
            _manifests[self.run_id] = ManifestReader(f"{self.url}/manifest", self.store)
        return _manifests[self.run_id]

    def part(self, shard: int) -> tuple[AbstractFileSystem, str]:
        """File system and path of a shard's part."""
        return self.store.filesystem(f"{self.url}/parts/{part_name(shard)}")

    def read_part(self, shard: int) -> pa.Table | None:
        """A shard's part, or None if there is none."""
        fs, path = self.part(shard)
        try:
            data = read_bytes(fs, path)
        except FileNotFoundError:
            return None
        # On this thread alone: a pool of Arrow's that lets go of Python's buffer while the interpreter ends aborts it.
        return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


@dataclass(frozen=True)
class Fetch:
    """A shard's number to its objects' bytes. With `retry_errors`, only the rows that its part calls errors."""

    place: RunPlace
    store: Store
    max_bytes: int
    concurrency: int
    timeout_s: float
    retry_errors: bool
    head_start: HeadStart | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """From one row with `shard` to `FETCHED_SCHEMA`."""
        yield_to(FEED)
        shard: int = table["shard"][0].as_py()
        if self.head_start is not None:
            self.head_start.wait(shard)
        started = time.process_time()
        rows = self._rows(shard)
        fetched = self._fetcher().fetch(rows)
        columns = [
            rows["row_id"],
            pa.array([redact(uri) for uri in rows["uri"].to_pylist()], pa.string()),
            pa.array([item.data for item in fetched], pa.large_binary()),
            pa.array([item.sha256 for item in fetched], pa.string()),
            pa.array([item.num_bytes for item in fetched], pa.int64()),
            pa.array([item.error_code for item in fetched], pa.string()),
            pa.array([item.error_message for item in fetched], pa.string()),
            pa.array(np.full(len(fetched), time.process_time() - started)),
        ]
        return pa.table(columns, schema=FETCHED_SCHEMA)

    def _rows(self, shard: int) -> pa.Table:
        sharding = self.place.sharding
        rows = self.place.manifest().rows(sharding.first(shard), sharding.size(shard))
        part = self.place.read_part(shard) if self.retry_errors else None
        if part is None:
            return rows
        return rows.filter(pc.is_in(rows["row_id"], part.filter(pc.is_valid(part["error_code"]))["row_id"]))

    def _fetcher(self) -> Fetcher:
        if self.place.run_id not in _fetchers:
            _fetchers[self.place.run_id] = Fetcher(
                self.store, max_bytes=self.max_bytes, concurrency=self.concurrency, timeout_s=self.timeout_s
            )
        return _fetchers[self.place.run_id]


@dataclass(frozen=True)
class Decode:
    """Bytes to pixels at the checkpoint's input size."""

    spec: ImageSpec
    max_pixels: int
    conditions: tuple[str, ...] = ("none",)
    """Distortions; each is for as many rows in a row as the others."""
    rows: int = 0
    """Of the run."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """From `FETCHED_SCHEMA` to `decoded_schema`."""
        yield_to(FEED)
        started = time.process_time()
        height, width = self.spec.height, self.spec.width
        pixels = np.zeros((table.num_rows, height, width, 3), dtype=np.uint8)
        facts: list[tuple[int | None, int | None, str | None]] = []
        codes: list[str | None] = table["error_code"].to_pylist()
        messages: list[str | None] = table["error_message"].to_pylist()
        for index, (row_id, data) in enumerate(zip(table["row_id"].to_pylist(), table["data"], strict=True)):
            facts.append((None, None, None))
            if codes[index] is not None:
                continue
            try:
                image = decode(data.as_py(), self.spec, max_pixels=self.max_pixels, change=self._distortion(row_id))
            except ImageError as error:
                codes[index], messages[index] = error.code, error.message
                continue
            pixels[index] = image.pixels
            facts[index] = (image.width, image.height, image.format)
        schema = decoded_schema(height, width)
        widths, heights, formats = zip(*facts, strict=True) if facts else ((), (), ())
        columns: dict[str, Any] = {
            name: table[name] for name in ("row_id", "uri", "sha256", "num_bytes", "fetch_cpu_s")
        }
        columns |= {"width": widths, "height": heights, "format": formats}
        columns |= {"error_code": codes, "error_message": messages}
        columns["pixels"] = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels) if facts else []
        columns["decode_cpu_s"] = np.full(len(facts), time.process_time() - started)
        return pa.table([_column(columns[field.name], field.type) for field in schema], schema=schema)

    def _distortion(self, row_id: int) -> Callable[[Image.Image], Image.Image] | None:
        """What is done to the row's image before it is brought to the model's size."""
        if self.conditions == ("none",):
            return None
        condition, number = divmod(row_id, self.rows // len(self.conditions))
        return lambda image: distort(image, self.conditions[condition], seed=number)


@dataclass(frozen=True)
class Write:
    """A shard's result rows to its part, by one atomic PUT; a summary row for the driver."""

    place: RunPlace

    def __call__(self, table: pa.Table) -> pa.Table:
        """From `JUDGED_SCHEMA` to the columns of `PartSummary`, one row."""
        yield_to(FEED)
        started = time.process_time()
        if table.num_rows == 0:
            # Every error of this part was mended meanwhile: there is nothing to write.
            return PartSummary(-1).to_table()
        sharding = self.place.sharding
        shard = table["row_id"][0].as_py() // sharding.shard_rows
        results = table.select(RESULT_SCHEMA.names)
        fresh, samples = count_rows(results), examples(results)
        if results.num_rows < sharding.size(shard):
            results = merge(self.place.read_part(shard), results)
        data = part_bytes(results, sharding, shard)
        fs, path = self.place.part(shard)
        put_atomic(fs, path, data)
        engine = table["engine"][0].as_py()
        summary = PartSummary(shard, fresh.rows, fresh.real, fresh.fake, fresh.uncertain, fresh.errors)
        summary = replace(
            summary,
            examples=samples,
            image_bytes=pc.sum(results["num_bytes"], min_count=0).as_py(),
            part_bytes=len(data),
            fetch_cpu_s=table["fetch_cpu_s"][0].as_py(),
            decode_cpu_s=table["decode_cpu_s"][0].as_py(),
            engine=json.loads(engine),
            written_at=time.time(),
            write_cpu_s=time.process_time() - started,
        )
        return summary.to_table()


def merge(part: pa.Table | None, fresh: pa.Table) -> pa.Table:
    """The rows of a part with those in `fresh` replaced, by row id."""
    if part is None:
        return fresh
    kept = part.filter(pc.invert(pc.is_in(part["row_id"], fresh["row_id"])))
    return pa.concat_tables([kept.select(RESULT_SCHEMA.names).cast(RESULT_SCHEMA), fresh.cast(RESULT_SCHEMA)])


def part_bytes(results: pa.Table, sharding: Sharding, shard: int) -> bytes:
    """A part as a Parquet file: the shard's rows in order. A shard that is not whole is a bug, never a part."""
    results = results.sort_by("row_id").cast(RESULT_SCHEMA)
    results = results.replace_schema_metadata(
        {**(RESULT_SCHEMA.metadata or {}), COUNTS_KEY: count_rows(results).to_json()}
    )
    expected = np.arange(sharding.first(shard), sharding.first(shard) + sharding.size(shard))
    assert np.array_equal(results["row_id"].to_numpy(), expected), f"shard {shard} has wrong rows"
    sink = io.BytesIO()
    pq.write_table(results, sink, compression="zstd")
    return sink.getvalue()


def _column(values: Any, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, kind)
