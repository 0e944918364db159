"""BMP files that end a few pixels early."""

import io
from collections.abc import Iterator

from PIL import BmpImagePlugin

from fakevlm.image_file.repair import MAX_MISSING, Repair, missing_note


def repairs(data: bytes, max_pixels: int) -> Iterator[Repair]:
    """The file with the rows that it lacks in black."""
    image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
    codec, _, offset, args = image.tile[0]
    if codec != "raw" or not isinstance(args, tuple):
        return
    stride, height = int(args[1]), image.height
    missing = offset + stride * height - len(data)
    if missing < 1:
        return
    share = missing / (stride * height)
    padding = stride - -(-image.width * _bits(data) // 8)
    note = missing_note("BMP", share) if missing > padding else "the last bytes are missing; all pixels are there"
    if missing <= padding or share <= MAX_MISSING:
        yield Repair(data + bytes(missing), note)


def _bits(data: bytes) -> int:
    """Bits of a pixel."""
    old = data[14] == 12  # the header of OS/2 1.x
    return int.from_bytes(data[24:26] if old else data[28:30], "little")
