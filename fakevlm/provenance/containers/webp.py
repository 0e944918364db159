"""EXIF, XMP and manifests in the chunks of a WebP."""

from fakevlm.provenance.containers.metadata import MAX_EXIF, MAX_XMP, FileMetadata


def walk(data: bytes, found: FileMetadata) -> None:
    """Collects the metadata."""
    at, size = 12, len(data)
    for _ in range(found.limits.pieces):
        if at + 8 > size:
            return
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if kind == b"EXIF":
            found.add_exif(data[at : at + min(length, MAX_EXIF + 1)])
        elif kind == b"XMP ":
            found.add_xmp(data[at : at + min(length, MAX_XMP + 1)])
        elif kind == b"C2PA":
            found.has_manifest = True
        at += length + (length & 1)
    found.cut = True
