"""The facts of many parts as a table: a row for each, of which a million take some tens of megabytes."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.run.counts import Counts
from fakescan.run.parts import PartFacts

SEAL_BYTES = 16
"""Of a part's seal so much is kept: half of a SHA-256."""

FACTS_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("stamp", pa.uint64(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("real", pa.int32(), nullable=False),
        pa.field("fake", pa.int32(), nullable=False),
        pa.field("uncertain", pa.int32(), nullable=False),
        pa.field("errors", pa.string(), nullable=False),
        pa.field("last_scanned_at", pa.timestamp("us", tz="UTC")),
        pa.field("seal", pa.binary(SEAL_BYTES)),
        pa.field("provenance", pa.string(), nullable=False),
    ]
)
"""`size` and `stamp` are the part's in the listing that its facts were read after; `errors` are rows by error code as
JSON, empty for none; `seal` is the beginning of the part's, null where it has none; `provenance` is like `errors`."""
EARLIER_FACTS_SCHEMA = pa.schema([field for field in FACTS_SCHEMA if field.name != "provenance"])
"""Of versions whose rows had no provenance: true of parts that have none."""


@dataclass(frozen=True, slots=True)
class ReadFacts:
    """The facts of one part, with the version of it that was read."""

    shard: int
    size: int
    stamp: int
    facts: PartFacts

    def values(self) -> tuple[Any, ...]:
        """The values of the part's row, in the order of the schema."""
        counts, facts = self.facts.counts, self.facts
        errors, provenance = _text_of(counts.errors), _text_of(counts.provenance)
        seal = bytes.fromhex(facts.seal)[:SEAL_BYTES] if facts.seal else None
        numbers = (counts.rows, counts.real, counts.fake, counts.uncertain)
        return (self.shard, self.size, self.stamp, *numbers, errors, facts.last_scanned_at, seal, provenance)


def _text_of(counts: Mapping[str, int]) -> str:
    return json.dumps(counts, sort_keys=True) if counts else ""


def facts_table(parts: Iterable[ReadFacts]) -> pa.Table:
    """A table of `FACTS_SCHEMA`."""
    rows = [part.values() for part in parts]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(FACTS_SCHEMA)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, FACTS_SCHEMA, strict=True)]
    return pa.table(arrays, schema=FACTS_SCHEMA)


def counts_in(table: pa.Table) -> Counts:
    """The rows of all these parts."""
    rows, real, fake, uncertain = (
        pc.sum(table[name].cast(pa.int64()), min_count=0).as_py() for name in ("rows", "real", "fake", "uncertain")
    )
    whole = Counts(rows, real, fake, uncertain)
    whole.add(Counts(errors=_summed(table["errors"]), provenance=_summed(table["provenance"])))
    return whole


def _summed(column: pa.ChunkedArray) -> dict[str, int]:
    """Counts as JSON, of many parts together."""
    sums: Counter[str] = Counter()
    for item in column.value_counts().to_pylist():
        sums.update({key: count * item["counts"] for key, count in errors_of(item["values"]).items()})
    return dict(sums)


def errors_of(text: str) -> Mapping[str, int]:
    """Rows by error code, from a value of `errors`."""
    found: dict[str, int] = json.loads(text) if text else {}
    return found


def failed_in(table: pa.Table) -> NDArray[np.int64]:
    """The rows of each part that ended in an error."""
    encoded = table["errors"].combine_chunks().dictionary_encode()
    sums = [sum(errors_of(text).values()) for text in encoded.dictionary.to_pylist()]
    return np.array(sums, np.int64)[encoded.indices.to_numpy()] if sums else np.zeros(len(table), np.int64)


def has_errors(table: pa.Table) -> NDArray[np.bool_]:
    """Whether each part has rows that ended in an error."""
    found: NDArray[np.bool_] = pc.not_equal(table["errors"], "").to_numpy()
    return found


def shard_by_code(table: pa.Table) -> dict[str, int]:
    """For each error code the first of these parts that has it."""
    found: dict[str, int] = {}
    firsts = table.select(["shard", "errors"]).group_by("errors").aggregate([("shard", "min")])
    for row in firsts.sort_by("shard_min").to_pylist():
        for code in errors_of(row["errors"]):
            found.setdefault(code, row["shard_min"])
    return found


def latest(table: pa.Table) -> datetime | None:
    """When the latest row of these parts was judged."""
    found: datetime | None = pc.max(table["last_scanned_at"]).as_py()
    return found
