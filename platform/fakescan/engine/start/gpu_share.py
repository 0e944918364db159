"""A fraction of a GPU, or several: what vLLM is told of them, and engines on one GPU that start after one another."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fakescan.engine.start.start_up import StartUp
from fakevlm.checkpoint.cache import locked
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.config_files import read_config, text_config, vision_config
from fakevlm.checkpoint.progress import Step
from fakevlm.errors import UserError, one_line


def whole_above_one(gpus: float | None) -> float | None:
    """The number of GPUs of an engine. Raises ValueError for one and a half."""
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise ValueError(
            "above 1 it must be a whole number: several GPUs work as one engine, and a fraction such as 0.5 lets "
            "engines share one"
        )
    return gpus


def memory_share(utilization: float, gpus: float) -> float:
    """The share of a GPU's memory that an engine may take: its fraction of what all engines on it may take."""
    return round(utilization * gpus, 4) if _is_fraction(gpus) else utilization


def parallel_size(checkpoint: Checkpoint, gpus: float) -> int:
    """GPUs over which vLLM spreads every layer. Raises UserError where this model cannot be cut into so many."""
    size = max(1, int(gpus))
    if size > 1:
        config = read_config(checkpoint.path)
        parts = [part["num_attention_heads"] for part in (text_config(config), vision_config(config))]
        if any(heads % size for heads in parts):
            fitting = [str(count) for count in range(1, min(parts) + 1) if not any(heads % count for heads in parts)]
            raise UserError(
                f"gpus_per_replica: {size} GPUs cannot work as one engine on this model: they divide its "
                f"{parts[0]} and {parts[1]} attention heads, so there must be {' or '.join(fitting)}"
            )
    return size


@contextmanager
def starting_alone(start: StartUp) -> Iterator[None]:
    """Holds this GPU's lock while an engine starts that has a fraction of it, on this node and for this user.

    vLLM measures the free memory of the GPU before and after it loads: of two that do so at once, one takes the other's
    memory for its own and fails. The lock goes with its process.
    """
    if not _is_fraction(start.gpus):
        yield
        return

    def wait() -> None:
        start.report(Step("waiting for another engine that starts on this GPU"))

    devices = re.sub(r"[^\w.-]", "_", os.environ.get("CUDA_VISIBLE_DEVICES") or "all")
    with locked(runtime_folder() / f"gpu-{devices[:200]}.lock", wait):
        yield


def _is_fraction(gpus: float) -> bool:
    return 0 < gpus < 1


def runtime_folder() -> Path:
    """This user's folder for locks on this node. Raises UserError where it belongs to somebody else."""
    # Not TMPDIR, which two programs of a user may have set to different folders.
    shared = Path("/tmp") if os.access("/tmp", os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    folder = shared / f"fakescan-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise UserError(f"cannot make {folder}, the folder for locks: {one_line(error)}") from None
    if status.st_uid != os.getuid() or folder.is_symlink():
        raise UserError(f"{folder}, the folder for locks, belongs to another user; have it removed")
    return folder
