"""Decodes uploads on threads, or in processes of their own where they are large: by turns, and within bounds of memory.

Small images are decoded on the replica's own threads. Large ones, and those whose files say too little of how long they
take, go to processes that give way to the rest: see `large_images`.
"""

import asyncio
import logging
import os
import queue
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

from fakescan.isolation.child import ChildStartError
from fakescan.serve.decoding.lane import Lane
from fakescan.serve.decoding.large_images import LargeImages
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.problem import Problem
from fakevlm import resampling
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file.effort import BYTES_PER_PIXEL, Effort, decoding_effort, is_quick
from fakevlm.preprocess import MAX_RESIZED_PIXELS, DecodedImage, ImageSpec, try_decode

logger = logging.getLogger("ray.serve.fakescan")

Outcome = TypeVar("Outcome")

SMALL_PIXELS = 1_050_000
"""Pixels of the largest image that is decoded on a thread, where it competes with the engine: 1024 times 1024."""
WAITING_REQUESTS = 4
"""Requests with as many pixels as one may have that a key can have waiting at a replica."""
_LARGE_ROOM = 1 << 30
"""Memory for the large images that are decoded at once, unless one alone may need more."""
_SMALL_COST = 100_000
"""Pixels in whose time a thumbnail is decoded."""
_RETRY_S = 2.0


class Decoder:
    """The decoding of one replica. All methods but the constructor belong to one event loop."""

    def __init__(
        self,
        spec: ImageSpec,
        *,
        threads: int,
        max_pixels: int,
        max_request_pixels: int,
        timeout_s: float,
        expect: Callable[[int], None] = lambda images: None,
    ) -> None:
        """`threads` for small images and as many processes for large ones, not more of either than there are cores.

        `expect` is told of the small images that are about to be decoded: see `Engine.expect`.
        """
        self._spec = spec
        self._expect = expect
        self._max_pixels = max_pixels
        self._max_request_pixels = max_request_pixels
        threads = min(threads, os.cpu_count() or 1)
        largest = max(BYTES_PER_PIXEL.values()) * max_pixels
        self._small = Lane("decode", threads)
        self._large = Lane("decode-large", threads, max(_LARGE_ROOM, largest))
        self._processes: queue.SimpleQueue[LargeImages] = queue.SimpleQueue()
        self._all = [
            LargeImages(spec, max_pixels=max_pixels, memory_bytes=largest, timeout_s=timeout_s) for _ in range(threads)
        ]
        for process in self._all:
            self._processes.put(process)
        self._outstanding: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Images that wait for their turn."""
        return self._small.waiting + self._large.waiting

    def outstanding(self, key: str) -> int:
        """Pixels of a key that wait for their turn or are being decoded."""
        return self._outstanding[key]

    def start(self) -> None:
        """Starts the processes for large images without waiting for them, and makes ready to resize quickly."""
        resampling.prepare()
        for process in self._all:
            process.start()

    async def admit(self, uploads: Sequence[Upload], key: str) -> list[Upload]:
        """The uploads of a request with what each takes to decode, by their headers alone.

        Raises Problem: `too_many_pixels` for a request with too many of them, `rate_limited` where too many of the key
        are waiting already.
        """
        if len(uploads) <= 1 and all(is_quick(upload.data) for upload in uploads):
            admitted = [self._measured(upload, key) for upload in uploads]
        else:
            measure = lambda: [self._measured(upload, key) for upload in uploads]  # noqa: E731
            admitted = await asyncio.get_running_loop().run_in_executor(None, measure)
        total, limit = sum(upload.work for upload in admitted), self._max_request_pixels
        if total > limit:
            raise Problem(
                "too_many_pixels",
                f"{_megapixels(total)} megapixels to decode in one request, {_megapixels(limit)} are allowed; send "
                "fewer or smaller images",
            )
        waiting = self.outstanding(key)
        if waiting and waiting + total > WAITING_REQUESTS * limit:
            raise Problem(
                "rate_limited",
                f"{_megapixels(waiting)} megapixels of this key are waiting to be decoded; send more "
                "when they have been answered",
                retry_after_s=_RETRY_S,
            )
        return admitted

    async def run(
        self, upload: Upload, begin: Callable[[], Callable[[DecodedImage | ImageError], Outcome]]
    ) -> "Future[Outcome]":
        """Waits for the upload's turn and starts to decode it.

        `begin` is called when the turn has come; what it returns is called with the image, on a thread.
        """
        if upload.effort is None:
            upload = self._measured(upload, upload.key)
        assert upload.effort is not None
        self._outstanding[upload.key] += upload.work

        def ended() -> None:
            self._outstanding[upload.key] -= upload.work
            if not self._outstanding[upload.key]:
                del self._outstanding[upload.key]

        small = upload.effort.is_plain and upload.work <= SMALL_PIXELS
        lane, decode = (self._small, self._decode) if small else (self._large, self._decode_apart)

        def begin_decoding() -> Callable[[], Outcome]:
            then = begin()
            return lambda: then(decode(upload.data))

        # What is refused by its header takes no memory, however large it says it is.
        size = upload.effort.memory_bytes if upload.work else 0
        return await lane.run(upload.key, max(upload.work, _SMALL_COST), begin_decoding, ended, size=size)

    def submit(self, work: Callable[[], Outcome]) -> "Future[Outcome]":
        """Has a thread do something short with an image that has been decoded."""
        return self._small.submit(work)

    def close(self) -> None:
        """Waits for the images that are being decoded, and ends threads and processes."""
        self._small.close()
        self._large.close()
        for process in self._all:
            process.close()

    def _measured(self, upload: Upload, key: str) -> Upload:
        effort = decoding_effort(upload.data)
        if effort is None:  # whatever it is, it is no larger
            effort = Effort("", self._max_pixels, 1, is_plain=False)
        return replace(upload, key=key, effort=effort, work=self._work(effort))

    def _work(self, effort: Effort) -> int:
        if not 0 < effort.pixels <= self._max_pixels:
            return 0
        height, width = self._spec.resized(effort.height, effort.width)
        resized = height * width if height * width <= MAX_RESIZED_PIXELS else 0  # a longer one is never made
        return int(max(effort.pixels * effort.passes, resized))

    def _decode(self, data: bytes) -> DecodedImage | ImageError:
        self._expect(1)
        try:
            return try_decode(data, self._spec, max_pixels=self._max_pixels)
        finally:
            self._expect(-1)

    def _decode_apart(self, data: bytes) -> DecodedImage | ImageError:
        process = self._processes.get()
        try:
            return process.decode(data)
        except ChildStartError as error:
            logger.error("%s", error)
            return ImageError(ErrorCode.JUDGE_FAILED, "no process can be started to decode this image in")
        finally:
            self._processes.put(process)


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:,.0f}"
