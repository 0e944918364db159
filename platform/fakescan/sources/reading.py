"""One reading of a source: the settings that it follows, and the account of what becomes no row."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fakescan.storage.store import Store
from fakevlm.errors import UserError

Listing = Callable[[Callable[[], int]], None]
"""Is told, when a listing begins, where the number of objects can be read that it has met so far."""

MAX_EXTENSIONS = 1_000
"""Extensions that are counted each by itself; objects with further ones are counted together."""

FURTHER = "others"
"""Stands for the further extensions; no extension is called so, for they begin with a dot."""

SHOWN_EXTENSIONS = 30
"""Extensions that are named to people; how many more there are is said."""

_SHOWN_LENGTH = 40


class LeftOutReason(StrEnum):
    """Why something in a source becomes no row. The value is what is printed, after a number."""

    EXTENSION = "with other extensions"
    CONTENT = "without the name or the content of an image that is read"
    UNKNOWN = "with unknown extensions, not looked at"
    OUTSIDE = "with names that do not say what they are, outside the allowed prefixes"
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
    EARLIER_VERSION = "delete markers and versions that are not the latest"
    OTHER_BUCKET = "rows of another bucket than the inventory's"
    ARCHIVED = "archived, to be restored before they can be read"


@dataclass
class LeftOut:
    """What a source holds and what of it becomes no row, by reason: `seen` = rows + `total`.

    Readers count into `seen` what they meet, before anything decides about it.
    """

    seen: int = 0
    """Objects, members and rows that were met. A container that is read counts as what it holds."""
    counts: Counter[LeftOutReason] = field(default_factory=Counter)
    by_extension: Counter[str] = field(default_factory=Counter)
    """What was left out for its name or content, by file name extension; those beyond `MAX_EXTENSIONS` as `FURTHER`."""
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

    def add_extensions(self, counts: Mapping[str, int]) -> None:
        """Count what was left out for its name or content by its extension."""
        names = self.by_extension
        for name, count in counts.items():
            names[name if name in names or len(names) < MAX_EXTENSIONS else FURTHER] += count

    def clear(self) -> None:
        """Begin anew."""
        self.seen = 0
        self.counts.clear()
        self.by_extension.clear()
        self.places.clear()


def extensions_shown(
    counts: Mapping[str, int], most: int = SHOWN_EXTENSIONS, form: str = "{name} {count:,}"
) -> list[str]:
    """The `most` frequent extensions in the given form, and last how many more there are; printable in any case."""
    further = counts.get(FURTHER, 0)
    names = sorted((item for item in counts.items() if item[0] != FURTHER), key=lambda item: (-item[1], item[0]))
    shown = [
        form.format(name=printable(name, _SHOWN_LENGTH) or "(no extension)", count=count)
        for name, count in names[:most]
    ]
    if rest := names[most:]:
        further += sum(count for _, count in rest)
        least = f"at least {len(rest) + 1:,}" if FURTHER in counts else f"{len(rest):,}"
        shown.append(f"and {further:,} with {least} more extensions")
    elif further:
        shown.append(f"and {further:,} with more extensions")
    return shown


def printable(text: str, most: int) -> str:
    """The text without what a terminal would obey, and in its middle cut to about `most` characters."""
    safe = "".join(letter if letter.isprintable() else "?" for letter in text)
    return safe if len(safe) <= most else f"{safe[: most // 2]}…{safe[-(most // 2) :]}"


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
    keep_columns: tuple[str, ...] = ()
    """Columns of a list or Parquet file whose values go with each image into the manifest."""
    allowed_prefixes: tuple[str, ...] | None = None
    """Folders and URL prefixes outside which no object is looked at. Default: all are."""
    left_out: LeftOut = field(default_factory=LeftOut)
    notes: list[str] = field(default_factory=list)
    """Lines for people about choices that were made, each once."""
    listed_at: datetime | None = None
    """When what is read was listed, where that was not now: the time of an inventory."""

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
