"""What a check has found wrong with a document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
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


def in_words(error: Any) -> Fault:
    """A violation of a JSON schema, as jsonschema reports it, in our words."""
    place, value = list(error.absolute_path), error.instance
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(value) - set(known), key=str)
        meant = get_close_matches(str(unknown[0]), known, n=1)
        return Fault.at([*place, unknown[0]], f"unknown field{f' (did you mean {meant[0]}?)' if meant else ''}")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in value)
        return Fault.at([*place, missing], "missing")
    if error.validator == "type":
        wanted = error.validator_value
        names = " or ".join(wanted) if isinstance(wanted, list) else wanted
        return Fault.at(place, f"must be of type {names} (got {value!r:.80})")
    if error.validator == "enum":
        return Fault.at(place, f"must be one of {', '.join(map(str, error.validator_value))} (got {value!r:.80})")
    if error.validator == "pattern":
        return Fault.at(place, f"has the wrong form (got {value!r:.80})")
    return Fault.at(place, str(error.message)[:200])
