"""Decodes the images that could keep everybody waiting, one at a time in a process of its own.

Some decoders hold Python's lock for as long as they work, and nothing ends one that never returns. Here it costs the
one image, and the process gives way to whatever else needs the processor.
"""

import os
import resource
from dataclasses import dataclass

from PIL import AvifImagePlugin

from fakescan.isolation.child import Child, Death, WorkLimits
from fakescan.isolation.time_limit import Timed
from fakescan.serve.malloc import give_back_large_blocks
from fakevlm import resampling
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.preprocess import DecodedImage, ImageSpec, try_decode

CPU_S = 20
"""CPU seconds that one image may take. The slowest sound ones of 50 megapixels take five."""
_NICE = 10
"""How much the process gives way: it gets a tenth of the time that another one gets which also wants all of a core."""
_START_BYTES = 384 << 20
"""Memory of the process beside the image."""


@dataclass(frozen=True)
class _Decode:
    """The work of the process."""

    spec: ImageSpec
    max_pixels: int
    cpu_s: int

    def __call__(self, data: bytes) -> DecodedImage | ImageError:
        """Decodes, and has the process killed by SIGXCPU where that takes too long."""
        if os.nice(0) < _NICE:  # the first time
            os.nice(_NICE)
            give_back_large_blocks()
            AvifImagePlugin.DEFAULT_MAX_THREADS = 1
            resampling.prepare()
        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(used.ru_utime + used.ru_stime) + self.cpu_s
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        return try_decode(data, self.spec, max_pixels=self.max_pixels)


class LargeImages:
    """One such process. Not for several threads."""

    def __init__(self, spec: ImageSpec, *, max_pixels: int, memory_bytes: int, timeout_s: float) -> None:
        """`memory_bytes` for one image; `timeout_s` for it, as the clock goes."""
        work = Timed(_Decode(spec, max_pixels, CPU_S), timeout_s)
        self._child = Child(work, WorkLimits(memory_bytes=memory_bytes + _START_BYTES), show=False)

    def start(self) -> None:
        """Starts the process without waiting for it."""
        self._child.start()

    def decode(self, data: bytes) -> DecodedImage | ImageError:
        """The image, or why there is none. Raises ChildStartError."""
        outcome = self._child.do(data)
        if isinstance(outcome, Death):
            return ImageError(ErrorCode.JUDGE_FAILED, f"the image could not be decoded: {outcome.how}")
        return outcome

    def close(self) -> None:
        """Ends the process."""
        self._child.close()
