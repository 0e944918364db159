"""What a check has found wrong with a document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Place = Sequence[str | int]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where in a document, and what."""

    place: str
    message: str

    @classmethod
    def at(cls, place: Place, message: str) -> "Fault":
        """The fault at a place that is given as a path of names and indices."""
        return cls(".".join(map(str, place)), message)

    def below(self, *prefix: str | int) -> "Fault":
        """The same fault, seen from further up."""
        return Fault(".".join([*map(str, prefix), *([self.place] if self.place else [])]), self.message)

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


def below(faults: Iterable[Fault], *prefix: str | int) -> list[Fault]:
    """The same faults, seen from further up."""
    return [fault.below(*prefix) for fault in faults]


def name_of(document: Document) -> str:
    """`Kind name`, as people call it."""
    return f"{document.get('kind', '?')} {(document.get('metadata') or {}).get('name', '?')}"
