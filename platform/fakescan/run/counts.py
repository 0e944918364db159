"""Rows by what became of them, of a part or of a whole run."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from fakevlm.reading import Meaning, counted_as
from fakevlm.verdict import Verdict

COUNTS_KEY = b"fakescan.counts"
"""Key in a part's Parquet metadata under which its `Counts` are, as JSON: counting a run reads footers only."""


@dataclass(slots=True)
class Counts:
    """Rows by verdict, and by error code."""

    rows: int = 0
    real: int = 0
    fake: int = 0
    uncertain: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, int] = field(default_factory=dict)
    """What the files say of their own origin, by `none`, `ai_generated/c2pa_trusted` and the like; files that were not
    read for it are in none."""

    @classmethod
    def of(cls, results: pa.Table) -> Self:
        """Counts of result rows."""
        verdicts, errors = _values(results["verdict"]), _values(results["error_code"])
        real, fake, uncertain = (verdicts.get(name, 0) for name in ("real", "fake", "uncertain"))
        return cls(results.num_rows, real, fake, uncertain, errors, provenance_counts(results))

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """The counts as a part's footer has them; without `provenance` where there is none, as earlier versions."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "provenance" or value})

    @property
    def failed(self) -> int:
        """Rows that ended in an error."""
        return sum(self.errors.values())

    def add(self, other: "Counts") -> None:
        """Count the rows of another part in."""
        self.rows += other.rows
        self.real += other.real
        self.fake += other.fake
        self.uncertain += other.uncertain
        for code, count in other.errors.items():
            self.errors[code] = self.errors.get(code, 0) + count
        for name, count in other.provenance.items():
            self.provenance[name] = self.provenance.get(name, 0) + count

    def most_common(self) -> list[tuple[str, int]]:
        """Error codes and their rows, most first."""
        return sorted(self.errors.items(), key=lambda item: (-item[1], item[0]))


def outcome_words(counts: Counts, meaning: Meaning | None) -> Iterator[tuple[str, int, str]]:
    """What each outcome is called where people read it, its rows, and the style that it is shown in."""
    for verdict, count in (
        (Verdict.REAL, counts.real),
        (Verdict.FAKE, counts.fake),
        (Verdict.UNCERTAIN, counts.uncertain),
    ):
        name = counted_as(verdict, meaning)
        # What may not be called real is not green either.
        yield name, count, name if name == verdict and meaning is not Meaning.NONE else ""
    yield "errors", counts.failed, "error"


def provenance_counts(results: pa.Table) -> dict[str, int]:
    """Rows by what their files say of their origin, as `Counts.provenance` has them."""
    if not {"provenance", "provenance_basis"} <= {*results.schema.names}:  # begun before there were such columns
        return {}
    kinds, bases = results["provenance"], pc.fill_null(results["provenance_basis"], "")
    names = pc.if_else(pc.equal(bases, ""), kinds, pc.binary_join_element_wise(kinds, bases, "/"))
    return dict(sorted(_values(names).items()))


def _values(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value is there that is not null."""
    found = column.drop_null().value_counts()
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))
