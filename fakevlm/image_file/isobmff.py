"""The box structure of HEIF and AVIF files (ISO/IEC 14496-12 and 23008-12): where the primary image's bytes are."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fakevlm.image_file.repair import Repair

_MAX_ITEMS = 4096
"""Items of a file, and items that one is put together from. libheif takes 1000; phones write a grid of 50 to 200."""
_MAX_EXTENTS = 8192
"""Extents of all items. libheif takes 32 for each; phones write one."""
_MAX_BOXES = 8192
"""Boxes that are looked at, at the top of a file or within its `meta` box."""
_MAX_DEPTH = 16
"""Boxes within each other. Those looked for are three deep."""
_CONTAINERS = {b"iprp", b"ipco"}


class FileBox(NamedTuple):
    """One box; `start` and `end` delimit its content."""

    kind: bytes
    start: int
    end: int
    complete: bool
    """Whether it ends within its container."""


class Item(NamedTuple):
    """An item of the `meta` box."""

    kind: bytes
    extents: list[tuple[int, int]]
    """(offset in the file, length) of its bytes; empty where they are within `meta`."""


class Layout(NamedTuple):
    """The items of a file."""

    primary: int
    items: dict[int, Item]
    derived_from: dict[int, list[int]]
    """Item to the items that it is put together from, such as the tiles of a grid."""
    sizes: list[tuple[int, int]]
    """(width, height) of the images in the file, as stored."""

    def pixel_items(self) -> Iterator[Item]:
        """The items whose bytes the primary image is made of."""
        seen, todo = set(), [self.primary]
        while todo:
            number = todo.pop()
            if number not in seen and number in self.items:
                seen.add(number)
                yield self.items[number]
                todo += self.derived_from.get(number, [])


class _Reader:
    """Big-endian numbers one after the other."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def number(self, size: int) -> int:
        if self.at + size > self.end:
            raise ValueError("a box of the header is cut")
        value = int.from_bytes(self.data[self.at : self.at + size])
        self.at += size
        return value

    def count(self, size: int, limit: int) -> int:
        """The number of entries that follow. Raises ValueError for more than `limit`."""
        value = self.number(size)
        if value > limit:
            raise ValueError(f"a box of the header lists {value} entries")
        return value


def boxes(data: bytes, at: int, end: int) -> Iterator[FileBox]:
    """The boxes between two places."""
    while at + 8 <= end:
        size, header = int.from_bytes(data[at : at + 4]), 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16]), 16
        elif size == 0:
            size = end - at
        if size < header:
            return
        yield FileBox(data[at + 4 : at + 8], at + header, min(at + size, end), at + size <= end)
        at += size


def layout(data: bytes) -> Layout:
    """Raises ValueError where the file has no `meta` box with a primary item, or one that is damaged."""
    meta = next((box for box in _limited(boxes(data, 0, len(data))) if box.kind == b"meta"), None)
    if meta is None:
        raise ValueError("files without a still image are not supported")
    kinds: dict[int, bytes] = {}
    places: dict[int, list[tuple[int, int]]] = {}
    derived: dict[int, list[int]] = {}
    sizes: list[tuple[int, int]] = []
    primary = None
    for box in _descendants(data, meta.start + 4, meta.end):
        reader = _Reader(data, box.start, box.end)
        version = reader.number(4) >> 24 if box.kind in (b"pitm", b"infe", b"iloc", b"iref", b"ispe") else 0
        if box.kind == b"pitm":
            primary = reader.number(4 if version else 2)
        elif box.kind == b"infe" and version >= 2:
            number = reader.number(4 if version > 2 else 2)
            reader.number(2)
            kinds[number] = data[reader.at : reader.at + 4]
        elif box.kind == b"iloc":
            _check_only(box, places)
            places = _places(reader, version)
        elif box.kind == b"iref":
            _check_only(box, derived)
            derived = _derived(data, box, 4 if version else 2)
        elif box.kind == b"ispe":
            sizes.append((reader.number(4), reader.number(4)))
    if primary is None:
        raise ValueError("the file names no primary image")
    return Layout(
        primary, {number: Item(kind, places.get(number, [])) for number, kind in kinds.items()}, derived, sizes
    )


def without_metadata(data: bytes, max_pixels: int) -> Iterator[Repair]:
    """The file with EXIF and XMP marked as unknown items, and without boxes that are cut behind the pixels."""
    end, edits = 0, []
    for box in _limited(boxes(data, 0, len(data))):
        if not box.complete and box.kind not in (b"mdat", b"meta", b"moov"):
            break
        end = box.end
        if box.kind == b"meta":
            edits += [place for place in _item_types(data, box) if data[place : place + 4] in (b"Exif", b"mime")]
    cleaned = bytearray(data[:end])
    for place in edits:
        cleaned[place : place + 4] = b"skip"
    if cleaned != data:
        yield Repair(bytes(cleaned))


def _descendants(data: bytes, at: int, end: int) -> Iterator[FileBox]:
    """The boxes of a `meta` box, those within `iinf` and `ipco` included. Raises ValueError for too many of them."""
    return _limited(_nested(data, at, end))


def _nested(data: bytes, at: int, end: int) -> Iterator[FileBox]:
    open_boxes = [boxes(data, at, end)]
    while open_boxes:
        box = next(open_boxes[-1], None)
        if box is None:
            open_boxes.pop()
            continue
        yield box
        if box.kind in _CONTAINERS:
            open_boxes.append(boxes(data, box.start, box.end))
        elif box.kind == b"iinf":
            counted = 8 if data[box.start : box.start + 1] != b"\0" else 6
            open_boxes.append(boxes(data, box.start + counted, box.end))
        if len(open_boxes) > _MAX_DEPTH:
            raise ValueError(f"boxes of the header are more than {_MAX_DEPTH} deep")


def _limited(found: Iterable[FileBox]) -> Iterator[FileBox]:
    for number, box in enumerate(found):
        if number >= _MAX_BOXES:
            raise ValueError(f"the header has more than {_MAX_BOXES} boxes")
        yield box


def _item_types(data: bytes, meta: FileBox) -> Iterator[int]:
    """Where the types of the items are."""
    for box in _descendants(data, meta.start + 4, meta.end):
        if box.kind == b"infe":
            yield box.start + (10 if data[box.start] > 2 else 8)


def _check_only(box: FileBox, entries: Mapping[int, object]) -> None:
    """Raises ValueError for a second box of a kind that there is one of: the limits are those of a box."""
    if entries:
        raise ValueError(f"the header has more than one box {box.kind.decode('latin-1')!r}")


def _places(reader: _Reader, version: int) -> dict[int, list[tuple[int, int]]]:
    """Item to (offset, length) of its bytes, by an `iloc` box; empty for an item that is within `meta`."""
    sizes = reader.number(2)
    offset, length, base, index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    places = {}
    room = _MAX_EXTENTS  # an extent may take no bytes of the file
    for _ in range(reader.count(4 if version == 2 else 2, _MAX_ITEMS)):
        number = reader.number(4 if version == 2 else 2)
        within = reader.number(2) & 15 if version else 0
        reader.number(2)
        start = reader.number(base)
        extents = []
        count = reader.count(2, room)
        room -= count
        for _ in range(count):
            if version:
                reader.number(index)
            begin = start + reader.number(offset)
            extents.append((begin, reader.number(length)))
        places[number] = [] if within else extents
    return places


def _derived(data: bytes, iref: FileBox, width: int) -> dict[int, list[int]]:
    derived = {}
    room = _MAX_ITEMS
    for box in _limited(boxes(data, iref.start + 4, iref.end)):
        if box.kind == b"dimg":
            reader = _Reader(data, box.start, box.end)
            number = reader.number(width)
            derived[number] = [reader.number(width) for _ in range(reader.count(2, room))]
            room -= len(derived[number])
    return derived
