"""Comments, XMP and manifests in the extensions of a GIF."""

from fakevlm.provenance.containers.metadata import MAX_TEXT, MAX_XMP, FileMetadata


def walk(data: bytes, found: FileMetadata) -> None:
    """Collects the metadata."""
    at, size = 13 + _palette(data[10:11]), len(data)
    pieces = 0
    while at + 2 <= size and pieces < found.limits.pieces:
        if data[at] == 0x2C:
            at += 10 + _palette(data[at + 9 : at + 10]) + 1
        elif data[at] != 0x21:
            return
        elif data[at + 1] == 0xFE:
            text = bytearray()
            start = at + 2
            while start < size and (length := data[start]) and len(text) <= MAX_TEXT:
                text += data[start + 1 : start + 1 + length]
                start += 1 + length
            found.add_text("comment", bytes(text))
            at += 2
        elif data[at + 1] == 0xFF:
            name = data[at + 3 : at + 14]
            at += 3 + data[at + 2] if at + 2 < size else 3
            if name == b"XMP DataXMP":
                _packet(data, at, found)
            elif name.startswith(b"C2PA_GIF"):
                found.has_manifest = True
        else:
            at += 2
        while at < size and (length := data[at]) and pieces < found.limits.pieces:
            at += 1 + length
            pieces += 1
        at += 1
        pieces += 1
    found.cut = found.cut or pieces >= found.limits.pieces


def _packet(data: bytes, at: int, found: FileMetadata) -> None:
    """XMP is not in blocks: bytes that lead out of it when they are taken for lengths of blocks follow it."""
    if not found.takes(found.xmp):
        return
    limit = at + found.room(MAX_XMP)
    end = data.find(b"\x01\xff\xfe\xfd\xfc", at, limit)
    packet = data[at : end if end >= 0 else limit]
    found.handle(len(packet))
    found.add_xmp(packet)


def _palette(flags: bytes) -> int:
    """Bytes of the palette that flags announce."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
