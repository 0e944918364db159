"""EXIF, XMP, comments and manifests in the segments of a JPEG before its pixels."""

import re

from fakevlm.provenance.containers.metadata import MAX_PIECES, MAX_XMP, FileMetadata

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_MARKER = re.compile(rb"\xff[^\xff]")
_MAX_GAP = 65536
"""Bytes that may lie between segments: some writers leave a few."""
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))


def walk(data: bytes, found: FileMetadata) -> None:
    """Collects the metadata, up to the first scan: no writer puts any behind it."""
    extended: dict[bytes, list[tuple[int, bytes]]] = {}
    photoshop: list[bytes] = []
    at, size = 2, len(data)
    for _ in range(MAX_PIECES):
        found_marker = _MARKER.search(data, at, at + _MAX_GAP)
        if found_marker is None or found_marker.end() + 2 > size:
            break
        at = found_marker.end() - 2
        marker = data[at + 1]
        if marker in (_SCAN, _END):
            break
        if marker in _NO_LENGTH or marker == 0:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4])
        if length < 2:
            break
        if marker >= 0xE0:
            body = data[at + 4 : at + 2 + length]
            if body.startswith(_MORE_XMP):
                _extension(body[len(_MORE_XMP) :], extended, found)
            elif body.startswith(_PHOTOSHOP):
                photoshop.append(body[len(_PHOTOSHOP) :])
            else:
                _segment(marker, body, found)
        at += 2 + length
    if photoshop:
        found.add_iim(b"".join(photoshop))
    for pieces in extended.values():
        found.add_xmp(b"".join(piece for _, piece in sorted(pieces)))


def _segment(marker: int, body: bytes, found: FileMetadata) -> None:
    if marker == _COMMENT:
        found.add_text("comment", body)
    elif body.startswith(b"Exif\0"):
        found.add_exif(body)
    elif body.startswith(_XMP):
        found.add_xmp(body[len(_XMP) :])
    elif marker == 0xEB and body.startswith(b"JP") and b"jumdc2pa" in body[:64]:  # there are other boxes, too
        found.has_manifest = True
    elif body.lstrip(b"\0 \r\n\t")[:5] in (b"AIGC{", b"AIGC:", b"AIGC\0", b"AIGC ") or body.startswith(b'{"AIGC"'):
        found.add_label(body)


def _extension(body: bytes, extended: dict[bytes, list[tuple[int, bytes]]], found: FileMetadata) -> None:
    """A piece of XMP that is longer than a segment: GUID, whole length and offset precede it."""
    pieces = extended.setdefault(body[:32], [])
    if len(extended) > 4 or sum(len(piece) for _, piece in pieces) > MAX_XMP:
        found.cut = True
    else:
        pieces.append((int.from_bytes(body[36:40]), body[40:]))
