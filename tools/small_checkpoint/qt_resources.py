"""Reads Qt resource files (.rcc), in which some Debian packages carry their pictures.

The format is that of Qt's `rcc` tool, big-endian: magic `qres`, version, offsets of tree, data and names. A tree node
is a name offset and flags, then for a folder the number and index of its children, for a file country, language and the
offset of its data; from version 2 on a modification time follows.
"""

import struct
import zlib
from collections.abc import Iterator

COMPRESSED_ZLIB, FOLDER, COMPRESSED_ZSTD = 1, 2, 4


def resource_files(rcc: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file in a Qt resource file; raise ValueError if it is none.

    Files packed with zstd are left out: pictures are stored as they are or with zlib.
    """
    if rcc[:4] != b"qres":
        raise ValueError("not a Qt resource file")
    version, tree, data, names = struct.unpack_from(">4I", rcc, 4)
    node_size = 14 if version == 1 else 22
    waiting = [("", 0)]
    while waiting:
        parent, index = waiting.pop()
        at = tree + index * node_size
        name_at, flags = struct.unpack_from(">IH", rcc, at)
        path = f"{parent}/{_name(rcc, names + name_at)}" if index else ""
        if flags & FOLDER:
            count, first = struct.unpack_from(">2I", rcc, at + 6)
            waiting += [(path, child) for child in range(first + count - 1, first - 1, -1)]
        elif not flags & COMPRESSED_ZSTD:
            (start,) = struct.unpack_from(">I", rcc, at + 10)
            (size,) = struct.unpack_from(">I", rcc, data + start)
            content = rcc[data + start + 4 : data + start + 4 + size]
            # qCompress puts the length of the content before the zlib stream.
            yield path.lstrip("/"), zlib.decompress(content[4:]) if flags & COMPRESSED_ZLIB else content


def _name(rcc: bytes, at: int) -> str:
    """The UTF-16 name at this offset: its length, a hash, its characters."""
    (length,) = struct.unpack_from(">H", rcc, at)
    return rcc[at + 6 : at + 6 + 2 * length].decode("utf-16-be")
