"""One reading of a source: the settings that it follows, and the account of what becomes no row."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from fakescan.storage.store import Store
from fakevlm.errors import UserError

Listing = Callable[[Callable[[], int]], None]
"""Is told, when a listing begins, where the number of objects can be read that it has met so far."""


class LeftOutReason(StrEnum):
    """Why something in a source becomes no row. The value is what is printed, after a number."""

    EXTENSION = "with other extensions"
    PATTERN = "with names that were not asked for"
    HIDDEN = "files of metadata that macOS leaves"
    NOT_A_FILE = "neither files nor folders"
    NO_ADDRESS = "rows without an address"
    BAD_ADDRESS = "rows whose address cannot be one"
    LINK = "links that lead to no file"
    METADATA = "tables beside tar files, which describe their images"
    DAMAGED = "damaged"
    CELLS = "rows with more or fewer cells than the header"
    INLINE = "rows that hold the image itself as text in the place of an address"
    NO_IMAGE = "rows with an empty list of images"
    SPARSE = "sparse members of tar files, which are in pieces"


@dataclass
class LeftOut:
    """What a source holds and what of it becomes no row, by reason: `seen` = rows + `total`.

    Readers count into `seen` what they meet, before anything decides about it.
    """

    seen: int = 0
    """Objects, members and rows that were met. A container that is read counts as what it holds."""
    counts: Counter[LeftOutReason] = field(default_factory=Counter)
    by_extension: Counter[str] = field(default_factory=Counter)
    """Of `LeftOutReason.EXTENSION`, by file name extension."""
    places: dict[LeftOutReason, str] = field(default_factory=dict)
    """For each reason the first place, free of secrets."""

    @property
    def total(self) -> int:
        """All that becomes no row; duplicates are counted elsewhere."""
        return sum(self.counts.values())

    def add(self, reason: LeftOutReason, place: str = "", count: int = 1) -> None:
        """Leave out `count`; the first time, `place` is kept."""
        if count:
            self.counts[reason] += count
            self.places.setdefault(reason, place)

    def clear(self) -> None:
        """Begin anew."""
        self.seen = 0
        self.counts.clear()
        self.by_extension.clear()
        self.places.clear()


@dataclass
class Reading:
    """One reading of a source."""

    store: Store
    column: str | None = None
    """Column of a list or Parquet file that holds the addresses or images. Default: the likeliest by name."""
    size_column: str | None = None
    """Column with the sizes of the objects in bytes. Default: sizes in a user's list are not believed."""
    skip_damaged: bool = False
    """Go on after damage inside a container, and count it."""
    left_out: LeftOut = field(default_factory=LeftOut)
    notes: list[str] = field(default_factory=list)
    """Lines for people about choices that were made, each once."""

    def note(self, line: str) -> None:
        """Keep a line for people."""
        if line not in self.notes:
            self.notes.append(line)

    def damaged(self, place: str, message: str, count: int = 1) -> None:
        """Count damage in a place that may be shown, or refuse the source. Raises UserError."""
        if not self.skip_damaged:
            raise UserError(f"{place} {message}; --skip-damaged leaves out what is damaged and goes on")
        self.left_out.seen += count
        self.left_out.add(LeftOutReason.DAMAGED, f"{place} {message}", count)
