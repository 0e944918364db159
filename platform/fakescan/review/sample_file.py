"""The file of a sample, RUN/review/DESIGN.parquet: its images in the order in which they are to be reviewed.

sample = read_sample(folder, "estimate")
sample.plan.strata, sample.rows["sha256"]
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from fakescan.review.plan import DESIGNS, Design, SamplePlan
from fakescan.run.folder import RunFolder
from fakescan.run.sealed_parquet import parquet_bytes, read_sealed
from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.url import redact
from fakevlm.errors import UserError, one_line

_PLAN_KEY = "fakescan.sample"
SAMPLE_SCHEMA = pa.schema(
    [
        pa.field("row_id", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("stratum", pa.int32()),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("logit", pa.float32(), nullable=False),
    ]
)
"""One row for each drawn image. `stratum` counts into the plan's strata; it and the probability are null where the
design knows none."""


@dataclass(frozen=True)
class Sample:
    """A sample that was drawn."""

    plan: SamplePlan
    rows: pa.Table
    """`SAMPLE_SCHEMA`."""


def sample_path(folder: RunFolder, design: Design) -> str:
    """Path of a design's sample, within the run's folder."""
    return f"{folder.path}/review/{design}.parquet"


def write_sample(folder: RunFolder, sample: Sample) -> None:
    """Write a sample by one PUT."""
    data = parquet_bytes([sample.rows], SAMPLE_SCHEMA, {_PLAN_KEY: sample.plan.model_dump_json()})
    put_atomic(folder.fs, sample_path(folder, sample.plan.design), data)


def read_sample(folder: RunFolder, design: Design) -> Sample | None:
    """The sample of a design; None where none was drawn. Raises UserError for a file that is damaged."""
    try:
        data = read_bytes(folder.fs, sample_path(folder, design))
    except (FileNotFoundError, NotADirectoryError):
        return None
    where = f"review/{design}.parquet of {redact(folder.url)}"
    try:
        rows = read_sealed(data)
        text = pq.read_metadata(pa.BufferReader(data)).metadata[_PLAN_KEY.encode()]
        return Sample(SamplePlan.model_validate_json(text), rows.select(SAMPLE_SCHEMA.names).cast(SAMPLE_SCHEMA))
    except (pa.ArrowException, KeyError, ValidationError, ValueError) as error:
        words = "is not a sample of this version" if isinstance(error, KeyError | ValidationError) else "is damaged"
        raise UserError(f"run: {where} {words} ({one_line(error)}); delete it and draw again") from None


def read_samples(folder: RunFolder) -> list[Sample]:
    """All samples of a run, by design."""
    return [sample for design in DESIGNS if (sample := read_sample(folder, design)) is not None]
