"""What the reader of a form has to do, and where it is told of the files around the records."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fsspec import AbstractFileSystem

from fakevlm.data.readers import Fault, Items


@dataclass(frozen=True)
class Place:
    """Where the records of a form are."""

    fs: AbstractFileSystem
    root: str
    """The path in `fs` from which image paths count."""


Converted = Iterator[tuple[int | None, dict[str, Any] | Fault]]
"""Number and FakeClue's fields of each record; in the place of the fields a `Fault`."""


@dataclass(frozen=True)
class RecordFormat:
    """How records of one origin become FakeClue's."""

    convert: Callable[[Items, Place], Converted]
    """From the items of a file to FakeClue's fields."""
    categories: tuple[str, ...]
    """The categories that its records may have."""
    is_trainable: bool = False
    """Whether training reads it as it is; any other is a benchmark, or has to be imported."""
    is_object: bool = False
    """Whether its JSON may be an object: then an item is a pair of a key and all below it, in pairs."""
    is_joined: bool = False
    """Whether it is published in several files that belong together."""


def plain(items: Items, place: Place) -> Converted:
    """The items as they are."""
    yield from items
