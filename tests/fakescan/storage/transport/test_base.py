"""Bodies without their Content-Encoding: in any number of pieces, whatever their size, and never more than allowed."""

import asyncio
import gzip
import random
import zlib

import pytest

from fakescan.storage.transport.base import decoded
from fakescan.storage.transport.bytes_in_flight import STEP, UNBOUNDED
from fakevlm.errors import ErrorCode, ImageError

pytestmark = pytest.mark.unit

NOISE = random.Random(1).randbytes(2 * STEP + 12345)


def plain(body: bytes, encoding: str, max_bytes: int = 10**9) -> bytes:
    return asyncio.run(decoded(body, encoding, UNBOUNDED, max_bytes))


@pytest.mark.parametrize("size", [0, 1, STEP - 1, STEP, STEP + 1, len(NOISE)])
@pytest.mark.parametrize("content", [NOISE, b"\0" * len(NOISE)], ids=["noise", "zeros"])
def test_every_size_comes_out_whole(content: bytes, size: int) -> None:
    data = content[:size]
    assert plain(gzip.compress(data), "gzip") == data
    assert plain(zlib.compress(data), "deflate") == data
    assert plain(gzip.compress(data) + b"behind it", "gzip") == data
    with pytest.raises(ImageError) as cut:
        plain(gzip.compress(data)[:-1], "gzip")
    assert cut.value.code is ErrorCode.TRUNCATED
    if size:
        with pytest.raises(ImageError) as large:
            plain(gzip.compress(data), "gzip", size - 1)
        assert large.value.code is ErrorCode.TOO_LARGE


def test_what_is_packed_in_pieces_is_put_together() -> None:
    """As `cat a.gz b.gz`, pigz and bgzip make it; one of the cuts is where the next slice of the body begins."""
    first = gzip.compress(NOISE[:STEP], compresslevel=0)
    for cut in (STEP, STEP - 1, STEP - 500, 10):
        piece = gzip.compress(NOISE[:cut], compresslevel=0)
        assert plain(piece + first + gzip.compress(b""), "gzip") == NOISE[:cut] + NOISE[:STEP]
    filler = next(size for size in range(STEP - 200, STEP) if len(gzip.compress(NOISE[:size], compresslevel=0)) == STEP)
    assert plain(gzip.compress(NOISE[:filler], compresslevel=0) + first, "gzip") == NOISE[:filler] + NOISE[:STEP]


def test_other_encodings_and_false_claims_are_left_alone() -> None:
    for body, encoding in ((b"image", "gzip"), (gzip.compress(b"x"), "br"), (b"image", "deflate"), (b"", "gzip")):
        assert plain(body, encoding) == body
