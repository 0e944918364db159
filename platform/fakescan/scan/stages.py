"""The task stages of the pipeline: fetch, decode and write, each a plain callable over one shard's table."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from fakescan.isolation.child import USUAL_LIMITS, Child, Death, WorkLimits, alone
from fakescan.isolation.time_limit import Item, Result, Timed
from fakescan.run.counts import Counts
from fakescan.run.facts.written import facts_of_written
from fakescan.run.folder import RunFolder
from fakescan.run.object_key import source_key
from fakescan.run.parts import merged, part_bytes
from fakescan.run.run_file import RunFile
from fakescan.scan.metrics.stage_metrics import fetched_bytes, in_stage
from fakescan.scan.poison.suspicion import fetch_with_care, is_suspect
from fakescan.scan.provenance import Found, ReadProvenance, provenance_columns
from fakescan.scan.small_machine import FirstShards, feed
from fakescan.scan.stability.carried import CarriedFiles
from fakescan.scan.stability.failed_variants import better_rows, has_failed_variants
from fakescan.scan.store_weather import report_waits
from fakescan.scan.tables import FETCHED_SCHEMA, PartSummary, StripCounts, decoded_schema, examples
from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.sources.manifest import ManifestReader
from fakescan.storage.store import Store
from fakescan.storage.transport.patient import record_limits
from fakescan.storage.url import redact
from fakescan.terminal.json_logs.fields import log_fields
from fakevlm import resampling
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.metrics.distortion import distort
from fakevlm.near_duplicates.phash import phash
from fakevlm.preprocess import DecodedImage, Decoding, ImageSpec, try_decode

RowImage = tuple[int, bytes]
"""A row's id and the bytes of its image."""

# Worker processes run many shards; what is costly to open is kept by the run's id.
_fetchers: dict[str, Fetcher] = {}
_manifests: dict[tuple[str, str], ManifestReader] = {}


def _manifest(folder: RunFolder, run: RunFile) -> ManifestReader:
    """This process's reader of a run's manifest."""
    key = run.run_id, run.manifest  # a sample that is continued gets another manifest
    if key not in _manifests:
        _manifests[key] = folder.manifest(run)
    return _manifests[key]


@dataclass(frozen=True)
class Fetch:
    """A shard's number to its objects' bytes. With `retry_errors`, only the rows that its part calls errors, or
    of which a variant could not be judged."""

    folder: RunFolder
    run: RunFile
    store: Store
    max_bytes: int
    concurrency: int
    timeout_s: float
    retry_errors: bool
    first_shards: FirstShards | None = None
    limits: WorkLimits = USUAL_LIMITS
    patience_s: float = 0.0
    ledger: Any = None
    """The actor that is told which stores are waited for."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """From one row with `shard` to `FETCHED_SCHEMA`."""
        shard: int = table["shard"][0].as_py()
        with log_fields(run_id=self.run.run_id, shard=shard):
            with in_stage(self.run.run_id, "fetch"):
                fetched = self._table(shard)
            fetched_bytes(self.run.run_id, fetched)
            record_limits()
            return fetched

    def _table(self, shard: int) -> pa.Table:
        feed(self.first_shards, shard)
        report_waits(self.ledger)
        started = time.process_time()
        rows = self._rows(shard)
        fetched = self._fetched(rows)
        uris = rows["uri"].to_pylist()
        columns = [
            rows["row_id"],
            pa.array([redact(uri) for uri in uris], pa.string()),
            pa.array([item.data for item in fetched], pa.large_binary()),
            pa.array([item.sha256 for item in fetched], pa.string()),
            pa.array([item.num_bytes for item in fetched], pa.int64()),
            pa.array([item.error_code for item in fetched], pa.string()),
            pa.array([item.error_message for item in fetched], pa.string()),
            pa.array(np.full(len(fetched), time.process_time() - started)),
            pa.array([source_key(uri) for uri in uris], pa.string()),
            pa.array([item.version.etag for item in fetched], pa.string()),
            pa.array([item.version.version for item in fetched], pa.string()),
            pa.array([item.version.last_modified for item in fetched], pa.timestamp("us", tz="UTC")),
            rows["kept"],
        ]
        return pa.table(columns, schema=FETCHED_SCHEMA)

    def _fetched(self, rows: pa.Table) -> list[Fetched]:
        if is_suspect("fetching"):
            return fetch_with_care(self._fetcher(), rows, self.limits)
        return Timed(self._fetcher().fetch, self.limits.timeout_s)(rows)

    def _rows(self, shard: int) -> pa.Table:
        sharding = self.run.sharding
        rows = _manifest(self.folder, self.run).rows(sharding.first(shard), sharding.size(shard))
        part = _sound_part(self.folder, shard) if self.retry_errors else None
        if part is None:
            return rows
        is_good = pc.and_(pc.is_null(part["error_code"]), pc.invert(has_failed_variants(part)))
        good = part.filter(is_good)["row_id"]
        rows = rows.filter(pc.invert(pc.is_in(rows["row_id"], good)))
        # Whatever was repaired since the listing is another version of the object; what lies in a container is found
        # by its place and length.
        alone = pc.is_null(rows["object"])
        for name in ("size", "etag"):
            nothing = pa.nulls(rows.num_rows, rows[name].type)
            column = pc.if_else(alone, nothing, rows[name])
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
        return rows

    def again(self, shard: int, row_ids: Sequence[int]) -> list[Fetched]:
        """Some rows of a shard once more, by ascending row id, in a process apart: this one may be an engine's.

        Raises StoreAwayError, and SilentSourceError for files that do not end being read.
        """
        rows = self._rows(shard)
        wanted = rows.filter(pc.is_in(rows["row_id"], pa.array(row_ids, pa.int64())))
        return fetch_with_care(self._fetcher(), wanted, self.limits)

    def _fetcher(self) -> Fetcher:
        if self.run.run_id not in _fetchers:
            _fetchers[self.run.run_id] = Fetcher(
                self.store,
                max_bytes=self.max_bytes,
                concurrency=self.concurrency,
                timeout_s=self.timeout_s,
                patience_s=self.patience_s,
            )
        return _fetchers[self.run.run_id]


@dataclass(frozen=True)
class Decode:
    """Bytes to pixels at the checkpoint's input size."""

    spec: ImageSpec
    max_pixels: int
    conditions: tuple[str, ...] = ("none",)
    """Distortions; each is for as many consecutive rows as the others."""
    rows: int = 0
    """Rows in the run."""
    limits: WorkLimits = USUAL_LIMITS
    run_id: str = ""
    """The run, for metrics and log lines."""
    shard_rows: int = 0
    """For log lines alone."""
    provenance: ReadProvenance | None = None
    """Reads what the files say of their own origin; None: nobody asks them."""
    carried: CarriedFiles | None = None
    """The files that the judge may have to look at again; None without a stability strip."""
    decoding: Decoding = "exact"

    def __call__(self, table: pa.Table) -> pa.Table:
        """From `FETCHED_SCHEMA` to `decoded_schema`."""
        with in_stage(self.run_id, "decode"):
            return self._table(table)

    def _table(self, table: pa.Table) -> pa.Table:
        feed()
        started = time.process_time()
        resampling.count(table.num_rows)
        height, width = self.spec.height, self.spec.width
        pixels = np.zeros((table.num_rows, height, width, 3), dtype=np.uint8)
        facts: list[tuple[int | None, int | None, str | None]] = []
        hashes: list[str | None] = [None] * table.num_rows
        origins: list[Found] = [None] * table.num_rows
        codes: list[str | None] = table["error_code"].to_pylist()
        messages: list[str | None] = table["error_message"].to_pylist()
        suspect = is_suspect("decoding")
        with self._decoder(suspect) as decoded, self._origin_reader(suspect) as origin:
            row_ids, uris = table["row_id"].to_pylist(), table["uri"].to_pylist()
            for index, (row_id, uri, data) in enumerate(zip(row_ids, uris, table["data"], strict=True)):
                facts.append((None, None, None))
                if codes[index] is not None:
                    continue
                file = data.as_py()
                with log_fields(uri=uri, **self._of_run(row_id)):
                    image = decoded((row_id, file))
                    origins[index] = origin(file)
                if isinstance(image, ImageError):
                    codes[index], messages[index] = image.code, image.message
                    continue
                pixels[index] = image.pixels
                facts[index] = (image.width, image.height, image.format)
                hashes[index] = phash(image.pixels)
                messages[index] = image.note or None
        schema = decoded_schema(height, width, files=self.carried is not None)
        widths, heights, formats = zip(*facts, strict=True) if facts else ((), (), ())
        columns: dict[str, Any] = {name: table[name] for name in table.column_names if name in schema.names}
        columns |= {"width": widths, "height": heights, "format": formats, "phash": hashes}
        columns |= provenance_columns(origins)
        columns |= {"error_code": codes, "error_message": messages}
        if self.carried is not None:
            columns["data"] = self.carried.of(table, codes)
        columns["pixels"] = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels) if facts else []
        columns["decode_cpu_s"] = np.full(len(facts), time.process_time() - started)
        return pa.table([_column(columns[field.name], field.type) for field in schema], schema=schema)

    def _of_run(self, row_id: int) -> dict[str, Any]:
        return {"run_id": self.run_id or None, "shard": row_id // self.shard_rows if self.shard_rows else None}

    def decode(self, image: RowImage) -> DecodedImage | ImageError:
        """One row's image at the checkpoint's input size, or what is wrong with it. Raises MemoryError."""
        row_id, data = image
        return try_decode(
            data,
            self.spec,
            max_pixels=self.max_pixels,
            change=self._distortion(row_id),
            decoding=self.decoding,
        )

    @contextmanager
    def _decoder(self, suspect: bool) -> Iterator[Callable[[RowImage], DecodedImage | ImageError]]:
        """`decode` for the images of a shard: here, or with care, as `suspicion` says."""
        with _bounded(self.decode, self.limits, with_care=suspect) as decoded:

            def image_of(image: RowImage) -> DecodedImage | ImageError:
                outcome = decoded(image)
                if isinstance(outcome, Death):
                    return ImageError(ErrorCode.POISON, outcome.message("decoding"))
                return outcome

            yield image_of

    @contextmanager
    def _origin_reader(self, suspect: bool) -> Iterator[Callable[[bytes], Found]]:
        """The same for what the files say of their origin: one that ends its process costs no verdict."""
        if self.provenance is None:
            yield lambda data: None
            return
        with _bounded(self.provenance, self.limits, with_care=suspect) as read:

            def origin_of(data: bytes) -> Found:
                outcome = read(data)
                return outcome.message("reading the origin of") if isinstance(outcome, Death) else outcome

            yield origin_of

    def _distortion(self, row_id: int) -> Callable[[Image.Image], Image.Image] | None:
        """The change made to the row's image before it is brought to the model's size."""
        if self.conditions == ("none",):
            return None
        condition, number = divmod(row_id, self.rows // len(self.conditions))
        return lambda image: distort(image, self.conditions[condition], seed=number)


@contextmanager
def _bounded(
    work: Callable[[Item], Result], limits: WorkLimits, *, with_care: bool
) -> Iterator[Callable[[Item], Result | Death]]:
    """The work with its limit of time: in this process, or with care in a child of its own."""
    timed = Timed(work, limits.timeout_s)
    with Child(timed, limits) as child:

        def carefully(item: Item) -> Result | Death:
            return alone(child, item)

        def here(item: Item) -> Result | Death:
            try:
                return timed(item)
            except MemoryError:
                return carefully(item)

        yield carefully if with_care else here


@dataclass(frozen=True)
class Write:
    """A shard's result rows to its part, by one atomic PUT; a summary row for the driver."""

    folder: RunFolder
    run: RunFile
    ledger: Any = None
    """As in `Fetch`."""
    retry_errors: bool = False
    """As in `Fetch`: a part that is there keeps its rows that are no worse."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """From `JUDGED_SCHEMA` to the columns of `PartSummary`, one row."""
        feed()
        return self.part(table)

    def part(self, table: pa.Table) -> pa.Table:
        """The same, at this process's priority."""
        report_waits(self.ledger)
        started = time.thread_time()
        sharding = self.run.sharding
        if self.retry_errors and table.num_rows:
            table = better_rows(table, _sound_part(self.folder, sharding.of(table["row_id"][0].as_py())))
        if table.num_rows == 0:
            # Every error of this part was resolved meanwhile, or nothing got better: there is nothing to write.
            return PartSummary(-1).to_table()
        shard = sharding.of(table["row_id"][0].as_py())
        fresh = _with_kept_columns(table, self.run)
        results = fresh
        if fresh.num_rows < sharding.size(shard):
            results = merged(self.folder.read_part(shard), fresh)
        data = part_bytes(results, sharding, shard, self.run.result_schema)
        with log_fields(run_id=self.run.run_id, shard=shard):
            self.folder.write_part(shard, data)
        engine = table["engine"][0].as_py()
        return PartSummary(
            shard,
            Counts.of(fresh),
            examples(fresh),
            copies=pc.sum(table["is_copy"], min_count=0).as_py(),
            image_bytes=pc.sum(results["num_bytes"], min_count=0).as_py(),
            part_bytes=len(data),
            fetch_cpu_s=table["fetch_cpu_s"][0].as_py(),
            decode_cpu_s=table["decode_cpu_s"][0].as_py(),
            engine=json.loads(engine),
            strip=StripCounts.of(table),
            facts=facts_of_written(self.folder, sharding, shard, data),
            written_at=time.time(),
            write_cpu_s=time.thread_time() - started,
        ).to_table()


def _sound_part(folder: RunFolder, shard: int) -> pa.Table | None:
    """The rows of a part; None for one that is missing or damaged."""
    try:
        return folder.read_part(shard)
    except pa.ArrowInvalid:
        return None


def _with_kept_columns(judged: pa.Table, run: RunFile) -> pa.Table:
    """The rows as the run's parts have them, with the user's columns."""
    names = run.identity.selection.keep_columns
    if names:
        values = [json.loads(text) if text else {} for text in judged["kept"].to_pylist()]
        for name in names:
            judged = judged.append_column(name, pa.array([value.get(name) for value in values], pa.string()))
    return judged.select(run.result_schema.names).cast(run.result_schema)


def _column(values: Any, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, kind)
