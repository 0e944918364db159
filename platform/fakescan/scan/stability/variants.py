"""Makes the variants of an image, in processes apart: what a decoder does to them it must not do to the engine's."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakescan.isolation.child import Child, Death, WorkLimits, alone
from fakescan.isolation.time_limit import Timed, renew
from fakescan.run.stability.columns import VARIANTS
from fakevlm.errors import ErrorCode, ImageError, one_line
from fakevlm.image_file import read_image
from fakevlm.metrics.distortion import distort
from fakevlm.preprocess import ImageSpec, fit

Pixels = NDArray[np.uint8]
Item = tuple[bytes, tuple[str, ...]]
"""A file, and the conditions to bring its image under."""

CONDITIONS = tuple(variant.condition for variant in VARIANTS)
_MAX_PROCESSES = 4
"""Of one engine: at most two thirds of a core each while every image of a GPU's pace is looked at."""


def content_of(sha256: bytes, number: int) -> bytes:
    """What a variant, by its place in `VARIANTS`, of an image file is known by among contents."""
    return hashlib.sha256(sha256 + CONDITIONS[number].encode()).digest()


@dataclass(frozen=True)
class MakeVariants:
    """One image under several conditions, at the model's input size: as if each had been a file of its own."""

    spec: ImageSpec
    max_pixels: int

    def __call__(self, item: Item) -> list[Pixels | ImageError]:
        """In the order of the conditions. Raises MemoryError."""
        data, conditions = item
        try:
            image = read_image(data, max_pixels=self.max_pixels).rgb
        except ImageError as error:
            return [_blamed(error)] * len(conditions)
        return [self._variant(image, condition) for condition in conditions]

    def _variant(self, image: Image.Image, condition: str) -> Pixels | ImageError:
        renew()
        try:
            return np.ascontiguousarray(fit(distort(image, condition, seed=0), self.spec))
        except ImageError as error:
            return _blamed(error)
        except (MemoryError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - as in `try_decode`: a decoder may raise anything
            return ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"{type(error).__name__}: {one_line(error)}")


def _blamed(error: ImageError) -> ImageError:
    """The error, unless memory is to blame for it, and not the image."""
    if isinstance(error.__cause__, MemoryError):
        raise error.__cause__ from None
    return error


class VariantMakers:
    """Some processes that make variants, each started when it is first needed. For several threads."""

    def __init__(self, make: MakeVariants, limits: WorkLimits, *, processes: int | None = None) -> None:
        count = processes or max(1, min(_MAX_PROCESSES, len(os.sched_getaffinity(0)) // 2))
        self._idle: SimpleQueue[Child[Item, list[Pixels | ImageError]]] = SimpleQueue()
        self._children = [Child(Timed(make, limits.timeout_s), limits) for _ in range(count)]
        for child in reversed(self._children):
            self._idle.put(child)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="fakescan-variants")

    def begin(self, files: Sequence[bytes | ImageError]) -> list[Future[list[Pixels | ImageError]]]:
        """Start to make the variants of some images; for each its file, or why it is not there."""
        return [self._pool.submit(self.make, data) for data in files]

    def make(self, data: bytes | ImageError) -> list[Pixels | ImageError]:
        """The variants of one image, or why there are none, in the order of `VARIANTS`."""
        if isinstance(data, ImageError):
            return [data] * len(CONDITIONS)
        child = self._idle.get()
        try:
            made = child.do((data, CONDITIONS))
            if not isinstance(made, Death):
                return made
            return [self._alone(child, data, condition) for condition in CONDITIONS]  # one of them is to blame
        finally:
            self._idle.put(child)

    def _alone(self, child: Child[Item, list[Pixels | ImageError]], data: bytes, condition: str) -> Pixels | ImageError:
        made = alone(child, (data, (condition,)))
        return ImageError(ErrorCode.POISON, made.message("changing")) if isinstance(made, Death) else made[0]

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)
        for child in self._children:
            child.close()
