"""What somebody may have meant who wrote a name or a word that does not exist."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

_DEPTH = 3
"""Levels of settings that are searched for a name that stands in the wrong place."""


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that this one is likely to be a slip of; None where none is near."""
    by_plain = {_plain(name): name for name in known}
    found = get_close_matches(_plain(word), by_plain, n=1, cutoff=0.7)
    return by_plain[found[0]] if found else None


def closest_setting(model: type[BaseModel], place: Sequence[int | str]) -> str | None:
    """The setting that was meant by the unknown one at `place`, a location that pydantic reports.

    That is a name on the same level like it; else a setting of just that name within another one, with points.
    """
    *parents, word = place
    classes = _classes_at(model, parents)
    near = closest(str(word), [name for kind in classes for name in kind.model_fields])
    if near is not None or parents:
        return near
    names = dict.fromkeys(_nested_names(model, _DEPTH))
    elsewhere = [name for name in names if name.rpartition(".")[2] == _plain(str(word))]
    return elsewhere[0] if len(elsewhere) == 1 else None


def shown_place(model: type[BaseModel], place: Sequence[int | str]) -> str:
    """A location that pydantic reports, as the user has written it: without the names of kinds and types."""
    shown: list[str] = []
    classes: list[type[BaseModel]] = [model]
    inside = True
    for part in place:
        below = _below(classes, part) if inside else None
        if below is None and inside and classes and _is_kind(classes, part):
            continue
        shown.append(str(part))
        classes = below or []
        inside = bool(classes)
    return ".".join(shown)


def _classes_at(model: type[BaseModel], place: Sequence[int | str]) -> list[type[BaseModel]]:
    classes = [model]
    for part in place:
        below = _below(classes, part)
        classes = [kind for kind in classes if _is_named(kind, part)] if below is None else below
    return classes


def _below(classes: Iterable[type[BaseModel]], name: int | str) -> list[type[BaseModel]] | None:
    """The classes of a field's value, perhaps none; None where no class has such a field."""
    fields = [kind.model_fields[name] for kind in classes if isinstance(name, str) and name in kind.model_fields]
    return [inner for field in fields for inner in _classes_in(field.annotation)] if fields else None


def _classes_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for inner in get_args(annotation) for kind in _classes_in(inner)]


def _is_kind(classes: Iterable[type[BaseModel]], part: int | str) -> bool:
    return any(_is_named(kind, part) for kind in classes) or part in ("str", "int", "float", "bool")


def _is_named(kind: type[BaseModel], part: int | str) -> bool:
    """Whether pydantic calls a class so in a location: by its own name, or by the word that chooses it."""
    chosen_by = kind.model_fields.get("kind")
    names = (kind.__name__, f"function-after[_check(), {kind.__name__}]")
    return part in names or (chosen_by is not None and part == chosen_by.default)


def _nested_names(model: type[BaseModel], depth: int) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for kind in _classes_in(field.annotation) if depth else ():
            for inner in _nested_names(kind, depth - 1):
                yield f"{name}.{inner}"


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")
