"""Decoding for a replica: what is refused by its header, who waits for whom, and what one image can cost the others."""

import asyncio
import io
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

import numpy as np
import pytest
from PIL import Image

from fakescan.serve.decoding.decoder import SMALL_PIXELS, WAITING_REQUESTS, Decoder
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.problem import Problem
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.preprocess import DecodedImage, ImageSpec, decode
from tests.image_bytes import many_scans

SPEC = ImageSpec(shortest_edge=32, crop=(32, 32))
MAX_PIXELS, MAX_REQUEST_PIXELS = 50_000_000, 200_000_000
BOMB = (7000, 7000)

Scene = Callable[[Decoder], Awaitable[None]]


def file(width: int, height: int, kind: str = "WEBP", **options: object) -> bytes:
    sink = io.BytesIO()
    options = {"lossless": True, "method": 0} | options if kind == "WEBP" else options
    Image.new("RGB", (width, height), (90, 120, 30)).save(sink, kind, **options)
    return sink.getvalue()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    data = file(*BOMB)
    assert len(data) < 3000
    return data


def with_decoder(scene: Scene, *, threads: int = 2) -> None:
    async def bounded() -> None:
        decoder = Decoder(
            SPEC, threads=threads, max_pixels=MAX_PIXELS, max_request_pixels=MAX_REQUEST_PIXELS, timeout_s=60
        )
        try:
            async with asyncio.timeout(60):
                await scene(decoder)
        finally:
            decoder.close()

    asyncio.run(bounded())


def uploads(*files: bytes) -> list[Upload]:
    return [Upload(index, None, data) for index, data in enumerate(files)]


async def decoded(decoder: Decoder, upload: Upload) -> DecodedImage | ImageError:
    future: Future[DecodedImage | ImageError] = await decoder.run(upload, lambda: lambda image: image)
    return await asyncio.wrap_future(future)


@pytest.mark.unit
def test_a_request_with_too_many_pixels_is_refused_before_any_is_decoded(bomb: bytes) -> None:
    async def scene(decoder: Decoder) -> None:
        started = time.perf_counter()
        with pytest.raises(Problem, match="784 megapixels to decode in one request, 200 are allowed") as refused:
            await decoder.admit(uploads(*[bomb] * 16), "attacker")
        assert (refused.value.code, refused.value.status) == ("too_many_pixels", 413)
        assert time.perf_counter() - started < 1
        admitted = await decoder.admit(uploads(*[bomb] * 4), "attacker")
        assert [upload.key for upload in admitted] == ["attacker"] * 4
        assert [upload.work for upload in admitted] == [49_000_000] * 4

    with_decoder(scene)


@pytest.mark.unit
def test_large_and_strange_images_count_for_more() -> None:
    photo, phone = file(1000, 800, "JPEG"), file(4000, 3000, "JPEG")
    scans = many_scans(1000, 800, 600)
    too_large, none = file(9000, 9000), b"this is no image"
    stripe = file(68, 10_000, "PNG")  # resized for the model it has 16.6 million pixels
    headless = file(500, 500, "PNG").replace(b"IHDR", b"IHDX")

    async def scene(decoder: Decoder) -> None:
        admitted = await decoder.admit(uploads(photo, phone, scans, too_large, none, headless), "")
        work = [upload.work / 1e6 for upload in admitted]
        assert work[:2] == [0.8, 12.0]
        assert work[2] == pytest.approx(0.8 * 600 / 12, abs=0.2)
        assert work[3:5] == [0.0, 0.0], "they are refused without being decoded"
        assert work[5] == MAX_PIXELS / 1e6, "nobody knows"

    with_decoder(scene)
    wide = Decoder(
        ImageSpec(shortest_edge=336, crop=(336, 336)), threads=1, max_pixels=MAX_PIXELS,
        max_request_pixels=MAX_REQUEST_PIXELS, timeout_s=60,
    )  # fmt: skip
    (admitted,) = asyncio.run(wide.admit(uploads(stripe), ""))
    assert 15e6 < admitted.work < 17e6
    wide.close()


@pytest.mark.unit
def test_a_key_has_only_so_much_waiting(bomb: bytes) -> None:
    async def scene(decoder: Decoder) -> None:
        held = threading.Event()

        async def wait(upload: Upload) -> None:
            await asyncio.wrap_future(await decoder.run(upload, lambda: lambda image: held.wait(30)))

        four = uploads(*[bomb] * 4)
        tasks = []
        for _ in range(WAITING_REQUESTS):
            tasks += [asyncio.ensure_future(wait(upload)) for upload in await decoder.admit(four, "attacker")]
            await asyncio.sleep(0)
        with pytest.raises(Problem, match="784 megapixels of this key are waiting") as refused:
            await decoder.admit(four, "attacker")
        assert (refused.value.status, refused.value.headers()["retry-after"]) == (429, "2")
        assert len(await decoder.admit(four, "somebody else")) == 4
        for task in tasks:
            task.cancel()
        held.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        while decoder.outstanding("attacker"):
            await asyncio.sleep(0.01)
        assert len(await decoder.admit(four, "attacker")) == 4

    with_decoder(scene)


@pytest.mark.unit
def test_a_small_image_does_not_wait_for_large_ones(bomb: bytes) -> None:
    photo = file(600, 400, "JPEG")

    async def scene(decoder: Decoder) -> None:
        large = [asyncio.ensure_future(decoded(decoder, one)) for one in await decoder.admit(uploads(bomb, bomb), "a")]
        await asyncio.sleep(0)
        for _ in range(20):
            (small,) = await decoder.admit(uploads(photo), "b")
            image = await decoded(decoder, small)
            assert isinstance(image, DecodedImage)
        assert not any(task.done() for task in large)
        for outcome in await asyncio.gather(*large):
            assert isinstance(outcome, DecodedImage)
            assert (outcome.width, outcome.height) == BOMB

    with_decoder(scene)


@pytest.mark.unit
def test_a_large_image_has_the_same_pixels_as_in_a_scan() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(noise).resize((3000, 2000)).save(sink, "JPEG")
    assert SMALL_PIXELS < 3000 * 2000
    expected = decode(sink.getvalue(), SPEC, max_pixels=MAX_PIXELS)

    async def scene(decoder: Decoder) -> None:
        (upload,) = await decoder.admit(uploads(sink.getvalue()), "")
        image = await decoded(decoder, upload)
        assert isinstance(image, DecodedImage)
        assert np.array_equal(image.pixels, expected.pixels)
        assert image[1:] == expected[1:]
        (cut,) = await decoder.admit(uploads(sink.getvalue()[: len(sink.getvalue()) // 2]), "")
        failed = await decoded(decoder, cut)
        assert isinstance(failed, ImageError)
        assert failed.code == ErrorCode.TRUNCATED

    with_decoder(scene)


@pytest.mark.unit
def test_what_takes_forever_is_ended_and_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG of many scans, as large as one request may ask for."""
    monkeypatch.setattr("fakescan.serve.decoding.large_images.CPU_S", 2)  # counted from the last whole second
    scans = many_scans(6000, 4000, 90)
    photo = file(3000, 2000, "JPEG")

    async def scene(decoder: Decoder) -> None:
        (slow,) = await decoder.admit(uploads(scans), "a")
        assert slow.work <= MAX_REQUEST_PIXELS
        ended = await decoded(decoder, slow)
        assert isinstance(ended, ImageError), ended
        assert ended.code == ErrorCode.JUDGE_FAILED
        assert "SIGXCPU" in ended.message
        (next_one,) = await decoder.admit(uploads(photo), "b")
        assert isinstance(await decoded(decoder, next_one), DecodedImage)

    with_decoder(scene, threads=1)


@pytest.mark.unit
def test_the_engine_hears_of_small_images_on_their_way(bomb: bytes) -> None:
    expecting: list[int] = []

    async def scene() -> None:
        decoder = Decoder(
            SPEC, threads=1, max_pixels=MAX_PIXELS, max_request_pixels=MAX_REQUEST_PIXELS, timeout_s=60,
            expect=expecting.append,
        )  # fmt: skip
        for data in (file(300, 200, "PNG"), b"nothing", bomb):
            (upload,) = await decoder.admit(uploads(data), "")
            await decoded(decoder, upload)
        decoder.close()

    asyncio.run(scene())
    assert expecting == [1, -1, 1, -1]
