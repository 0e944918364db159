"""EXIF, XMP and manifests in the boxes of a HEIF or AVIF."""

from fakevlm.image_file.isobmff import Item, boxes, layout
from fakevlm.provenance.containers.metadata import MAX_EXIF, MAX_TOTAL, MAX_XMP, FileMetadata

_MANIFEST = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_MAX_EXTENTS = 16
_MAX_HEADER = 1024
"""Bytes before the EXIF block of an item."""


def walk(data: bytes, found: FileMetadata) -> None:
    """Collects the metadata. Items that are kept within the `meta` box itself are not looked at."""
    head = 0
    for number, box in enumerate(boxes(data, 0, len(data))):
        head = max(head, box.end - box.start) if box.kind == b"meta" else head
        if box.kind == b"uuid" and data[box.start : box.start + 16] == _MANIFEST:
            found.has_manifest = True
        if number >= found.limits.pieces:
            found.cut = True
            break
    if head > MAX_TOTAL:
        found.cut = True
        return
    try:
        items = layout(data).items
    except (ValueError, RecursionError):
        return
    for item in items.values():
        if item.kind == b"mime" and found.takes(found.xmp):
            block = _joined(data, item, MAX_XMP + 1, found)
            if b"<" in block[:64]:
                found.add_xmp(block)
        elif item.kind == b"Exif" and found.takes(found.exif):
            block = _joined(data, item, MAX_EXIF + _MAX_HEADER, found)
            if len(block) > 4:
                found.add_exif(block[4 + int.from_bytes(block[:4]) :])


def _joined(data: bytes, item: Item, limit: int, found: FileMetadata) -> bytes:
    """The first bytes of an item. Many items may lie in the same place of the file."""
    block = bytearray()
    room = found.room(limit)
    for start, length in item.extents[:_MAX_EXTENTS]:
        block += data[start : start + min(length, room - len(block))]
    found.handle(len(block))
    return bytes(block)
