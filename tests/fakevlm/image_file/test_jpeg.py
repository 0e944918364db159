"""JPEG: segments have no say, a missing end marker is said, and half-grey images are refused."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import jpeg, read_image
from tests.image_bytes import EOI, inserted, orientation, picture, saved, segment
from tests.jpeg_both_ways import compare

pytestmark = pytest.mark.unit

MAX_PIXELS = 1_000_000
END_MISSING = "the end marker is missing; all pixels are there"


def plain(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def note(data: bytes, expected: Any) -> str:
    """The note, when exactly these pixels are read."""
    content = read_image(data, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(np.asarray(content.rgb), expected)
    return content.note


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(data, max_pixels=MAX_PIXELS)
    assert caught.value.code is ErrorCode.TRUNCATED
    return caught.value.message


CODINGS: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: saved(picture(320, 240), "JPEG"),
    "progressive": lambda: saved(picture(320, 240), "JPEG", progressive=True),
    "optimised": lambda: saved(picture(320, 240), "JPEG", optimize=True),
    "4:4:4": lambda: saved(picture(320, 240), "JPEG", subsampling=0),
    "restart rows": lambda: saved(picture(320, 240), "JPEG", restart_marker_rows=1),
    "restart blocks": lambda: saved(picture(320, 240), "JPEG", restart_marker_blocks=3),
    "grey": lambda: saved(picture(320, 240, "L"), "JPEG"),
    "grey, restart": lambda: saved(picture(320, 240, "L"), "JPEG", restart_marker_blocks=1),
    "CMYK": lambda: saved(picture(320, 240, "CMYK"), "JPEG"),
    "flat": lambda: saved(Image.new("RGB", (320, 240), (255, 255, 255)), "JPEG", optimize=True),
    "flat grey": lambda: saved(Image.new("RGB", (320, 240), (128, 128, 128)), "JPEG"),
}


@pytest.mark.parametrize("name", CODINGS)
def test_without_its_end_marker_the_image_is_shown_and_it_is_said(name: str) -> None:
    data = CODINGS[name]()
    assert note(data, plain(data)) == ""
    for missing in (data[:-2], data[:-1], data[:-2] + b"\xff" * 99):
        assert note(missing, plain(data)) == END_MISSING
    if "flat" not in name:  # whose own data is zeros
        assert note(data[:-2] + bytes(3000), plain(data)) == END_MISSING


def test_bytes_after_the_end_marker_are_nothing() -> None:
    data = CODINGS["baseline"]()
    for tail in (b"\0" * 500, b"trailing", data):
        assert note(data + tail, plain(data)) == ""


@pytest.mark.parametrize("name", sorted(set(CODINGS) - {"progressive", "flat", "flat grey"}))
def test_up_to_two_in_a_hundred_missing_pixels_are_said_more_are_refused(name: str) -> None:
    data = CODINGS[name]()
    slightly = data[: -len(data) // 100]
    for cut in (slightly, slightly + EOI):
        content = read_image(cut, max_pixels=MAX_PIXELS)
        assert "% of the pixels are missing" in content.note
        assert 0 < (np.asarray(content.rgb) != plain(data)).any(axis=2).mean() < 0.03
    for kept in (0.2, 0.5, 0.93):
        cut = data[: int(len(data) * kept)]
        for end in (b"", EOI, bytes(len(data) - len(cut)), b"\xff" * 300):
            assert "of the pixels are missing" in refusal(cut + end)


@settings(max_examples=60, deadline=None)
@given(st.integers(40, 200), st.integers(40, 200), st.floats(0.1, 1), st.integers(0, 4), st.booleans())
def test_what_is_read_of_a_cut_file_is_never_half_an_image(
    width: int, height: int, kept: float, seed: int, ended: bool
) -> None:
    options = ({}, {"subsampling": 0}, {"restart_marker_blocks": 2}, {"optimize": True}, {"progressive": True})[seed]
    data = saved(picture(width, height, seed=seed), "JPEG", **options)
    cut = data[: int(len(data) * kept)] + (EOI if ended and "progressive" not in options else b"")
    try:
        content = read_image(cut, max_pixels=MAX_PIXELS)
    except ImageError as error:
        assert error.code is ErrorCode.TRUNCATED  # noqa: PT017 - either outcome is right
    else:
        differ = (np.asarray(content.rgb) != plain(data)).any(axis=2).mean()
        block = 2 * 256 / (width * height)
        assert differ <= 0.02 + block
        assert content.note or differ <= block


def test_a_progressive_file_needs_all_its_scans() -> None:
    data = CODINGS["progressive"]()
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for scan in scans[2:]:
        assert "last scans" in refusal(data[:scan])
        coarse = read_image(data[:scan] + EOI, max_pixels=MAX_PIXELS)
        assert coarse.note == "the scans with the finer details are missing"
    assert "of the pixels are missing" in refusal(data[: (scans[-1] + len(data)) // 2])


@pytest.mark.parametrize("marker", [0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xFE])
def test_segments_that_are_no_pixels_have_no_say(marker: int) -> None:
    data = CODINGS["baseline"]()
    for body in (b"", b"JFIF\0", b"Adobe", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"ICC_PROFILE\0\1", EOI * 9):
        assert note(inserted(data, segment(marker, body)), plain(data)) == ""
        assert note(inserted(data, segment(marker, body))[:-2], plain(data)) == END_MISSING


def test_the_orientation_is_honoured_without_the_end_marker() -> None:
    data = saved(picture(), "JPEG", exif=orientation(6))
    turned = np.rot90(plain(saved(picture(), "JPEG")), -1)
    assert note(inserted(data, segment(0xE0, b"JFIF\0"))[:-2], turned) == END_MISSING


def test_a_segment_longer_than_the_file_hides_the_pixels_from_everyone() -> None:
    refusal(inserted(CODINGS["baseline"](), segment(0xE5, b"abc", 0xFFFF)))


def test_cmyk_counts_from_white_whoever_wrote_it() -> None:
    """As browsers do: decoders cannot tell, and Adobe's programs invert."""
    data = saved(picture(mode="CMYK"), "JPEG", quality=95)
    assert note(data, plain(data)) == ""
    place = data.index(b"Adobe")
    assert note(data[: place - 4] + data[place + 12 :], plain(data)) == ""


IN_COLOUR = [name for name in CODINGS if "grey" not in name and name != "CMYK"]


@pytest.mark.parametrize("name", IN_COLOUR)
def test_a_sound_file_in_colour_is_decoded_in_one_call_to_pillows_pixels(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = inserted(CODINGS[name](), segment(0xE1, orientation(6)))
    expected = np.rot90(plain(data), -1)  # as its EXIF says
    assert note(data, expected) == ""
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("Pillow has decoded it"))
    assert note(data, expected) == ""


def test_damaged_files_are_read_and_refused_as_by_pillow_alone() -> None:
    found = compare([make() for make in CODINGS.values()], range(400))
    assert found.different == []
    assert found.in_one_call > 20
    assert set(found.outcomes) >= {"read", ErrorCode.TRUNCATED}


def test_where_pillow_has_another_decoder_its_pixels_are_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(picture(64, 48), "JPEG")
    monkeypatch.setattr(jpeg, "_in_one_call", lambda _, width, height: Image.new("RGB", (width, height)))
    jpeg._is_pillows.cache_clear()
    try:
        assert note(data, plain(data)) == ""
    finally:
        jpeg._is_pillows.cache_clear()


def test_a_header_that_claims_another_size_is_no_reason_for_memory() -> None:
    """Pillow and libjpeg must mean the same image: what one of them sees smaller is left to Pillow."""
    assert jpeg._in_one_call(saved(picture(64, 48), "JPEG"), 64, 40) is None
    assert jpeg._in_one_call(saved(picture(64, 48), "JPEG"), 64, 50) is None
    assert jpeg._in_one_call(saved(picture(64, 48), "JPEG"), 48, 64) is None
