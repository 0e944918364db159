"""What an engine computes on, in the words of whoever made it: scores of two kinds differ in their last digits."""

import platform
from functools import cache
from pathlib import Path

from fakescan.engine.config import Device


@cache
def device_name(device: Device) -> str:
    """The name of this process's GPU, such as `NVIDIA H100 80GB HBM3`, or of the processor."""
    return _gpu() if device == "cuda" else _processor()


def _gpu() -> str:
    try:
        from vllm.platforms import current_platform

        # Asks the driver. Torch would make a context on the GPU for it, whose memory the engine's process lacks then.
        return str(current_platform.get_device_name())
    except Exception:  # noqa: BLE001 - a name is not worth an engine
        return "cuda"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
