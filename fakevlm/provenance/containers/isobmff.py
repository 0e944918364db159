"""EXIF, XMP and manifests in the boxes of a HEIF or AVIF."""

from fakevlm.image_file.isobmff import boxes, layout
from fakevlm.provenance.containers.metadata import MAX_PIECES, MAX_TOTAL, FileMetadata

_MANIFEST = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def walk(data: bytes, found: FileMetadata) -> None:
    """Collects the metadata. Items that are kept within the `meta` box itself are not looked at."""
    head = 0
    for number, box in enumerate(boxes(data, 0, len(data))):
        head = max(head, box.end - box.start) if box.kind == b"meta" else head
        if box.kind == b"uuid" and data[box.start : box.start + 16] == _MANIFEST:
            found.has_manifest = True
        if number >= MAX_PIECES:
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
        if item.kind not in (b"Exif", b"mime"):
            continue
        block = b"".join(data[start : start + length] for start, length in item.extents[:16])
        if item.kind == b"mime":
            if b"<" in block[:64]:
                found.add_xmp(block)
        elif len(block) > 4:
            found.add_exif(block[4 + int.from_bytes(block[:4]) :])
