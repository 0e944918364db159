"""Scans of labelled images, with the results beside their labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.engine.judging_settings import JudgingSettings
from fakescan.evaluate.benchmark import LabelledImage
from fakescan.evaluate.config import EvaluateConfig
from fakescan.run.folder import RunFolder
from fakescan.run.own_words import own_words_only
from fakescan.run.run_file import RunFile
from fakescan.scan.config import ScanConfig
from fakescan.scan.driver import run_scan
from fakescan.scan.start.explicit_images import ExplicitImages
from fakescan.sources.manifest import conform
from fakescan.storage.url import redact

COLUMNS = ["row_id", "uri", "width", "height", "format", "verdict", "score", "logit", "explanation", "error_code"]


@dataclass(frozen=True)
class JudgedImages:
    """One condition's results, aligned with the images that could be judged."""

    run: RunFile
    images: tuple[LabelledImage, ...]
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
        images = tuple(image for image in self.images if image.uri not in uris)
        mask = np.array([image.uri not in uris for image in self.images], dtype=np.bool_)
        return JudgedImages(self.run, images, self.rows.filter(mask), self.errors)


def judge(
    config: EvaluateConfig,
    images: Sequence[LabelledImage],
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
        explain="all" if explain else "none",
        provenance=False,
        retry_errors=config.retry_errors,
        input_store=config.data_store,
        output_store=config.output_store,
        **{name: getattr(config, name) for name in JudgingSettings.model_fields},
    )
    columns = {name: [getattr(image, name) for image in images] for name in ("uri", "size", "etag")}
    entries = conform(pa.table(columns))
    outcome = run_scan(scan, ray_address=ray_address, verbose=verbose, images=ExplicitImages(entries, conditions))
    rows = own_words_only(RunFolder(scan.output, scan.output_store).rows(outcome.run, COLUMNS), outcome.run)
    expected = [redact(image.uri) for image in images] * len(conditions)
    assert rows["uri"].to_pylist() == expected, "the run's identity holds its images"
    size = len(images)
    return {
        condition: _judged(outcome.run, images, rows.slice(number * size, size))
        for number, condition in enumerate(conditions)
    }


def _judged(run: RunFile, images: Sequence[LabelledImage], rows: pa.Table) -> JudgedImages:
    good = pc.is_null(rows["error_code"])
    counts = pc.value_counts(rows.filter(pc.invert(good))["error_code"]).to_pylist()
    errors = {str(item["values"]): int(item["counts"]) for item in counts}
    judged = tuple(images[number] for number in np.flatnonzero(good.to_numpy()))
    return JudgedImages(run, judged, rows.filter(good), errors)
