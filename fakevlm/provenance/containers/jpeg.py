"""EXIF, XMP, comments and manifests in the segments of a JPEG before its pixels."""

import re
from collections.abc import Iterator

from fakevlm.provenance.containers.metadata import MAX_EXIF, MAX_XMP, FileMetadata

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_MARKER = re.compile(rb"\xff[^\xff]")
_MAX_GAP = 65536
"""Bytes that may lie between segments: some writers leave a few."""
_MAX_PACKETS = 4
"""Packets of extended XMP; a file has one."""
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))


def walk(data: bytes, found: FileMetadata) -> None:
    """Collects the metadata, up to the first scan: no writer puts any behind it."""
    extended = _ExtendedXmp()
    photoshop = bytearray()
    at, size = 2, len(data)
    for _ in range(found.limits.pieces):
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
                extended.add(body[len(_MORE_XMP) :], found)
            elif body.startswith(_PHOTOSHOP):
                if len(photoshop) <= MAX_EXIF:
                    photoshop += body[len(_PHOTOSHOP) :]
            else:
                _segment(marker, body, found)
        at += 2 + length
    else:
        found.cut = True
    if photoshop:
        found.add_iim(bytes(photoshop))
    for packet in extended.packets():
        found.add_xmp(packet)


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


class _ExtendedXmp:
    """XMP that is longer than a segment, in pieces: GUID, whole length and offset precede each."""

    def __init__(self) -> None:
        self._pieces: dict[bytes, list[tuple[int, bytes]]] = {}
        self._sizes: dict[bytes, int] = {}

    def add(self, body: bytes, found: FileMetadata) -> None:
        """Adds a piece."""
        guid, offset, piece = body[:32], int.from_bytes(body[36:40]), body[40:]
        size = self._sizes.get(guid, 0)
        if size > MAX_XMP or (guid not in self._pieces and len(self._pieces) >= _MAX_PACKETS):
            found.cut = True
        else:
            self._pieces.setdefault(guid, []).append((offset, piece))
            self._sizes[guid] = size + len(piece)

    def packets(self) -> Iterator[bytes]:
        """The packets that the pieces come to."""
        for pieces in self._pieces.values():
            yield b"".join(piece for _, piece in sorted(pieces))
