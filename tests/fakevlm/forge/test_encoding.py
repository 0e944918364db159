"""Encodings: a pair's files are equal in everything that a header tells, and decode to the pixels they hold."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from fakevlm.forge import Encoding, draw_encoding, encode, encode_pair
from fakevlm.forge.encoding import MIN_COMMENT, with_comment
from fakevlm.image_file import read_image
from tests.fakevlm.forge.scenes import Pixels, leaves

pytestmark = pytest.mark.unit

KINDS = (
    Encoding("JPEG", 90, "4:4:4"),
    Encoding("JPEG", 88, "4:2:0"),
    Encoding("PNG"),
    Encoding("WEBP", 92),
    Encoding("WEBP"),
)
FLAT = np.full((64, 80, 3), 90, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (64, 80, 3)).astype(np.uint8)


def pixels(data: bytes) -> Pixels:
    return np.asarray(read_image(data, max_pixels=10**6).rgb)


@pytest.mark.parametrize("encoding", KINDS)
def test_both_files_of_a_pair_are_equally_long(encoding: Encoding) -> None:
    first, second = encode_pair(FLAT, NOISE, encoding)
    assert len(first) == len(second)
    assert len(first) == max(len(encode(FLAT, encoding)), len(encode(NOISE, encoding))) + MIN_COMMENT
    assert abs(len(encode(FLAT, encoding)) - len(encode(NOISE, encoding))) > 1000
    for data, rgb in ((first, FLAT), (second, NOISE)):
        image = Image.open(io.BytesIO(data))
        assert (image.format, image.size, image.mode) == (encoding.format, (80, 64), "RGB")
        assert np.array_equal(pixels(data), pixels(encode(rgb, encoding))), "the comment changed the picture"
        if encoding.quality is None:
            assert np.array_equal(pixels(data), rgb)


@pytest.mark.parametrize("encoding", KINDS)
@pytest.mark.parametrize("extra", [32, 34, 4096, 65536, 65538, 65540, 65542, 200_000])
def test_a_comment_of_any_length_is_read_over(encoding: Encoding, extra: int) -> None:
    data = encode(leaves(48, 1), encoding)
    longer = with_comment(data, extra, encoding)
    assert len(longer) == len(data) + extra
    assert np.array_equal(pixels(longer), pixels(data))


def test_odd_comments_where_the_format_has_them() -> None:
    for encoding in KINDS[:3]:
        for extra in (33, 65537, 65539, 65541):
            assert len(with_comment(encode(FLAT, encoding), extra, encoding)) == len(encode(FLAT, encoding)) + extra
    with pytest.raises(ValueError, match="even"):
        with_comment(encode(FLAT, KINDS[3]), 33, KINDS[3])


def test_draws_cover_all_kinds_evenly() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_encoding(rng) for _ in range(2000)]
    kinds = Counter((encoding.format, encoding.subsampling, encoding.quality is None) for encoding in drawn)
    assert len(kinds) == 5
    assert min(kinds.values()) > 300
    assert {encoding.quality for encoding in drawn} == {None, *range(88, 99)}
    assert {encoding.extension for encoding in drawn} == {"jpg", "png", "webp"}
