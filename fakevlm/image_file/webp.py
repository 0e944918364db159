"""WebP files (RFC 9649): size by the header, and files that libwebp refuses although their pixels are there."""

from collections.abc import Iterator

from fakevlm.image_file.repair import Repair

_PIXELS = (b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")
_METADATA_FLAGS = 0x20 | 0x08 | 0x04
"""ICC profile, EXIF and XMP in the first byte of VP8X."""
_MAX_CHUNKS = 1 << 16


def size(data: bytes) -> tuple[int, int]:
    """(width, height) by the header; (0, 0) when there is none."""
    chunk, head = data[12:16], data[16:30].ljust(14, b"\0")
    if chunk == b"VP8X":
        return int.from_bytes(head[8:11], "little") + 1, int.from_bytes(head[11:14], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[5:9], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(head[10:12], "little") & 0x3FFF, int.from_bytes(head[12:14], "little") & 0x3FFF
    return 0, 0


def repairs(data: bytes, max_pixels: int) -> Iterator[Repair]:
    """The chunks that hold pixels, under a header whose size is right; for a still image then without its canvas.

    Raises ValueError for a file of very many chunks.
    """
    chunks, info = [], {}
    at, count = 12, 0
    while len(data) >= at + 8:
        count += 1
        if count > _MAX_CHUNKS:
            raise ValueError(f"the file has more than {_MAX_CHUNKS} chunks")
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
        if kind in _PIXELS and len(body) == length:
            chunks.append((kind, body))
        elif kind in _PIXELS:
            break  # cut within pixels: what came before may be an animation's first frames
        elif kind in (b"EXIF", b"XMP "):  # the part of it that the file has may hold the orientation
            info["exif" if kind == b"EXIF" else "xmp"] = body
    if not any(kind in (b"ANMF", b"VP8 ", b"VP8L") for kind, _ in chunks):
        return
    cleaned = [
        (kind, bytes((body[0] & ~_METADATA_FLAGS,)) + body[1:] if kind == b"VP8X" and body else body)
        for kind, body in chunks
    ]
    yield Repair(_file(cleaned), info=info)
    still = [chunk for chunk in chunks if chunk[0] in (b"VP8 ", b"VP8L")][:1]
    if still:
        yield Repair(_file(still), info=info)


def _file(chunks: list[tuple[bytes, bytes]]) -> bytes:
    content = b"WEBP" + b"".join(
        kind + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2) for kind, body in chunks
    )
    return b"RIFF" + len(content).to_bytes(4, "little") + content
