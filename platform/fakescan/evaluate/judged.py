"""What the checkpoint says of labelled images: scans of them, joined with their labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fakescan.evaluate.benchmark import Labelled
from fakescan.evaluate.config import EvaluateConfig
from fakescan.run.folder import RunFile, RunFolder
from fakescan.run.parts import part_name
from fakescan.scan.config import ScanConfig
from fakescan.scan.driver import run_scan
from fakescan.scan.explicit_images import ExplicitImages
from fakescan.sources.manifest import conform
from fakescan.storage.objects import read_bytes
from fakescan.storage.url import redact

COLUMNS = ["row_id", "uri", "width", "height", "format", "verdict", "score", "logit", "explanation", "error_code"]


@dataclass(frozen=True)
class JudgedImages:
    """One condition's results, aligned with the images that could be judged."""

    run: RunFile
    images: tuple[Labelled, ...]
    """Those with a score, in order."""
    rows: pa.Table
    """`COLUMNS` of them."""
    errors: dict[str, int]
    """The other images, by error code."""

    @cached_property
    def is_fake(self) -> NDArray[np.bool_]:
        """bool[n]."""
        return np.array([image.is_fake for image in self.images], dtype=np.bool_)

    @cached_property
    def score(self) -> NDArray[np.float64]:
        """P(fake) after the checkpoint's calibration, float64[n]."""
        return np.asarray(self.rows["score"].to_numpy(), dtype=np.float64)

    @cached_property
    def logit(self) -> NDArray[np.float64]:
        """float64[n]; infinite where the model rules one of the words out."""
        return np.asarray(self.rows["logit"].to_numpy(), dtype=np.float64)

    @cached_property
    def verdict(self) -> NDArray[np.object_]:
        """object[n]: real, fake or uncertain."""
        return np.array(self.rows["verdict"].to_pylist(), dtype=object)

    def without(self, uris: frozenset[str]) -> "JudgedImages":
        """The same without some images."""
        kept = np.array([image.uri not in uris for image in self.images], dtype=np.bool_)
        images = tuple(image for image, keep in zip(self.images, kept, strict=True) if keep)
        return JudgedImages(self.run, images, self.rows.filter(kept), self.errors)


def judge(
    config: EvaluateConfig,
    images: Sequence[Labelled],
    name: str,
    *,
    conditions: tuple[str, ...],
    explain: bool,
    ray_address: str | None,
    verbose: bool,
) -> dict[str, JudgedImages]:
    """Scan the images under each condition into `output/name`, or go on with that scan; the results by condition."""
    scan = ScanConfig(
        source=config.data,
        output=f"{config.output.rstrip('/')}/{name}",
        model=config.model,
        explain="all" if explain else "none",
        calibration=config.calibration,
        max_new_tokens=config.max_new_tokens,
        engine=config.engine,
        replicas=config.replicas,
        gpus_per_replica=config.gpus_per_replica,
        retry_errors=config.retry_errors,
        input_store=config.data_store,
        output_store=config.output_store,
        model_store=config.model_store,
    )
    columns = {name: [getattr(image, name) for image in images] for name in ("uri", "size", "etag")}
    entries = conform(pa.table(columns))
    outcome = run_scan(scan, ray_address=ray_address, verbose=verbose, listed=ExplicitImages(entries, conditions))
    folder = RunFolder(scan.output, scan.output_store)
    rows = read_rows(folder, outcome.run)
    expected = [redact(image.uri) for image in images] * len(conditions)
    assert rows["uri"].to_pylist() == expected, "the run's identity holds its images"
    size = len(images)
    return {
        condition: _judged(outcome.run, images, rows.slice(number * size, size))
        for number, condition in enumerate(conditions)
    }


def read_rows(folder: RunFolder, run: RunFile) -> pa.Table:
    """The rows of a finished run in order, `COLUMNS` of them."""
    parts = []
    for shard in range(run.sharding.count):
        data = read_bytes(folder.fs, f"{folder.parts}/{part_name(shard)}")
        parts.append(pq.ParquetFile(pa.BufferReader(data)).read(COLUMNS, use_threads=False))
    return pa.concat_tables(parts).combine_chunks()


def _judged(run: RunFile, images: Sequence[Labelled], rows: pa.Table) -> JudgedImages:
    good = pc.is_null(rows["error_code"])
    counts = pc.value_counts(rows.filter(pc.invert(good))["error_code"]).to_pylist()
    kept = np.flatnonzero(good.to_numpy())
    errors = {str(item["values"]): int(item["counts"]) for item in counts}
    return JudgedImages(run, tuple(images[number] for number in kept), rows.filter(good), errors)
