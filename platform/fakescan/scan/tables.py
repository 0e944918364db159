"""The tables that travel between the stages of a scan: one schema each."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.run.counts import Counts
from fakescan.run.schema import PROVENANCE_FIELDS, result_schema
from fakescan.run.stability.columns import HOLDS, LOGITS, NOTE
from fakevlm.errors import ErrorCode
from fakevlm.verdict import Verdict

_OBJECT = [
    ("source_key", pa.string()),
    ("etag", pa.string()),
    ("version", pa.string()),
    ("last_modified", pa.timestamp("us", tz="UTC")),
    ("kept", pa.string()),
]
"""What is known of the object that was read, and as JSON the columns of the user's list."""

FETCHED_SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("uri", pa.string()),
        ("data", pa.large_binary()),
        ("sha256", pa.string()),
        ("num_bytes", pa.int64()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("fetch_cpu_s", pa.float64()),
        *_OBJECT,
    ]
)
"""From fetch to decode: `data` is the file's bytes, null on error; `fetch_cpu_s` the shard's CPU seconds."""

_JUDGEABLE = [
    pa.field("row_id", pa.int64()),
    pa.field("uri", pa.string()),
    pa.field("sha256", pa.string()),
    pa.field("num_bytes", pa.int64()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("format", pa.string()),
    pa.field("phash", pa.string()),
    *PROVENANCE_FIELDS,
    pa.field("error_code", pa.string()),
    pa.field("error_message", pa.string()),
    pa.field("fetch_cpu_s", pa.float64()),
    pa.field("decode_cpu_s", pa.float64()),
    *(pa.field(name, kind) for name, kind in _OBJECT),
]


def decoded_schema(height: int, width: int, *, files: bool = False) -> pa.Schema:
    """From decode to judge: the image's facts and its pixels, uint8 [height, width, 3], zero on error.

    With `files` also the bytes of those files that the judge may have to look at again.
    """
    fields = [*_JUDGEABLE, pa.field("pixels", pa.fixed_shape_tensor(pa.uint8(), [height, width, 3]))]
    return pa.schema([*fields, pa.field("data", pa.large_binary())] if files else fields)


def judged_schema(*, strip: bool = False) -> pa.Schema:
    """From judge to write: the result rows, and the costs so far.

    `engine` is the engine's counters as JSON, `is_copy` says whether the row has the judgement of another row with the
    same content. With `strip` the rows have the columns of a stability strip, and `variants` says how many of the row's
    variants were judged for it.
    """
    fields = [
        *result_schema(strip=strip),
        pa.field("kept", pa.string()),
        pa.field("fetch_cpu_s", pa.float64()),
        pa.field("decode_cpu_s", pa.float64()),
        pa.field("engine", pa.string()),
        pa.field("is_copy", pa.bool_()),
    ]
    return pa.schema([*fields, pa.field("variants", pa.int8())] if strip else fields)


JUDGED_SCHEMA = judged_schema()
"""That of a run without a stability strip."""


@dataclass(frozen=True, slots=True)
class RowValues:
    """The columns of a result row that come of its judgement."""

    verdict: Verdict | None = None
    score: float = float("nan")
    logit: float = float("nan")
    off_script: float = float("nan")
    explanation: str | None = None
    error_code: ErrorCode | None = None
    error_message: str | None = None
    """Why there is no verdict."""


@dataclass(slots=True)
class StripCounts:
    """What was done for a stability strip."""

    looked: int = 0
    """Rows that were looked at again."""
    unstable: int = 0
    """Of these, rows whose verdict does not hold."""
    incomplete: int = 0
    """Of these, rows with a variant that could not be judged."""
    variants: int = 0
    """Variants that the engine judged, one prefill each."""
    failed: int = 0
    """Variants that could not be judged."""

    @classmethod
    def of(cls, judged: pa.Table) -> "StripCounts":
        """Counts of rows from the judge."""
        if HOLDS not in judged.column_names:
            return cls()
        unstable = pc.sum(pc.equal(judged[HOLDS], False), min_count=0).as_py()
        incomplete = judged.filter(pc.is_valid(judged[NOTE]))
        return cls(
            looked=judged["variants"].drop_null().length(),
            unstable=unstable,
            incomplete=incomplete.num_rows,
            variants=pc.sum(judged["variants"], min_count=0).as_py(),
            failed=sum(incomplete[name].null_count for name in LOGITS),
        )

    def add(self, other: "StripCounts") -> None:
        """Count in what was done for another part."""
        self.looked += other.looked
        self.unstable += other.unstable
        self.incomplete += other.incomplete
        self.variants += other.variants
        self.failed += other.failed


@dataclass(slots=True)
class PartSummary:
    """One written part as the driver learns of it; all that it ever holds of the shard's rows."""

    shard: int
    counts: Counts = field(default_factory=Counts)
    """Rows that were done now, which for a retry are not all of the part's."""
    examples: dict[str, str] = field(default_factory=dict)
    """For each error code in `counts`, one row: its URI and message."""
    copies: int = 0
    """Rows in `counts` that got the judgement of another row with the same content."""
    image_bytes: int = 0
    """Bytes of the images fetched."""
    part_bytes: int = 0
    fetch_cpu_s: float = 0.0
    decode_cpu_s: float = 0.0
    write_cpu_s: float = 0.0
    written_at: float = 0.0
    """Unix time of the PUT, in seconds."""
    engine: dict[str, Any] = field(default_factory=dict)
    """Counters of the engine that judged the shard, when it had done so: see `EngineStats`; its id and device."""
    strip: StripCounts = field(default_factory=StripCounts)
    """Of the rows in `counts`."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the part holds as a whole: see `facts_of_written`."""

    def to_table(self) -> pa.Table:
        """One row; counters travel as JSON."""
        values = asdict(self)
        return pa.table({name: [json.dumps(v) if isinstance(v, dict) else v] for name, v in values.items()})

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "PartSummary":
        """The inverse of `to_table`, from one row as a dictionary."""
        values = {f.name: row[f.name] for f in fields(cls)}
        decoded = {name: json.loads(row[name]) for name in ("examples", "engine", "facts")}
        strip = StripCounts(**json.loads(row["strip"]))
        return cls(**{**values, **decoded, "counts": Counts.from_json(row["counts"]), "strip": strip})


def examples(results: pa.Table) -> dict[str, str]:
    """For each error code among the rows, the URI and message of its first row."""
    found: dict[str, str] = {}
    failed = results.filter(pc.is_valid(results["error_code"]))
    for row in failed.select(["uri", "error_code", "error_message"]).to_pylist():
        found.setdefault(row["error_code"], f"{row['uri']}: {row['error_message']}")
    return found
