"""What stopped a worker, in one line: the first cause, not what followed from it."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator

from fakescan.errors import JobFailedError
from fakescan.storage.errors import classify, is_transient, store_errors
from fakescan.storage.url import file_path, redact, redact_text, scheme_of
from fakescan.train.config import TrainConfig
from fakevlm.errors import one_line

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TORCH_WRITER = ("inline_container", "PytorchStreamWriter")
"""Words of torch's own writer of files, which does not say why a write has failed."""
_OF_OTHERS = ("connection closed by peer", "connection reset by peer", "gloo", "nccl", "broken pipe", "socket timeout")
"""Words of what a worker says when another one is gone."""
_SILENT = "died without a word: killed, or ended by the system for lack of memory"
_SHARED_MEMORY = "/dev/shm"
RESUME = "the same command resumes"
"""What is true of every training that stops."""


class StoreAwayError(JobFailedError):
    """The store of the data does not answer, after all patience with it."""


class Ending(JobFailedError):
    """Something stopped a worker that no restart of it can change; the message is one line."""


def cause_of(error: BaseException, config: TrainConfig) -> Ending | str | None:
    """Why a worker stopped: an `Ending` where starting again is no use, else one line; None for another worker's end.

    Looks through what the error was raised from, because libraries wrap the system's own words.
    """
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, JobFailedError):
            return Ending(str(one))
        if _is_full_disk(one):
            return Ending(_full_disk(one, config))
        if isinstance(one, MemoryError) or type(one).__name__ == "OutOfMemoryError":
            return Ending(
                "micro_batch: the memory is not enough for a step; lower it, set gradient_checkpointing, or spread the "
                f"states over more workers with zero: {one_line(one)[:160]}"
            )
    for one in chain:
        if isinstance(one, store_errors()) and not isinstance(one, ValueError) and is_transient(one):
            return f"the store of {redact(config.storage_path)} is away: {classify(one)[1]}; {RESUME}"
    text = one_line(error)
    if _is_of_others(error):
        return None
    return f"{type(error).__name__}: {redact_text(text)[:300]}"


def lost_worker(failures: dict[int, BaseException], workers: int) -> str | None:
    """What follows where all failures, by rank, say that another worker is gone; None where one says anything else.

    Ray may hear of those before it hears of the death.
    """
    if not failures or not all(_is_of_others(error) for error in failures.values()):
        return None
    if len(failures) == workers:
        return "the workers lost the connection to each other; look at the network between their nodes"
    others = ", ".join(map(str, sorted(failures)))
    return f"a worker, lost by worker {others}, {_SILENT}"


def worker_death(failures: dict[int, BaseException]) -> str | None:
    """What Ray says of workers that ended without a word, by rank; None where all of them could speak."""
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError

    for rank, error in sorted(failures.items()):
        for one in _chain(error):
            if isinstance(one, OutOfMemoryError):
                return (
                    f"worker {rank} was ended by Ray because its node had no memory left; lower micro_batch or workers"
                )
            if isinstance(one, NodeDiedError):
                return f"the node of worker {rank} is gone"
            if isinstance(one, RayActorError | WorkerCrashedError):
                return f"worker {rank} {_SILENT}"
    return None


def _is_of_others(error: BaseException) -> bool:
    """Whether an error only says that another worker is gone."""
    return any(word in one_line(error).lower() for word in _OF_OTHERS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from or while handling, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        # In errors that Ray brings from another process, and in those of Ray Train's own look at its workers.
        carried = [getattr(one, name, None) for name in ("cause", "health_check_failure")]
        waiting += [other for other in carried if isinstance(other, BaseException)]


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    text = str(error)
    if "No space left on device" in text or f"[Errno {errno.ENOSPC}]" in text:
        return True
    return any(word in text for word in _TORCH_WRITER) and _free(tempfile.gettempdir()) < 2**26


def _full_disk(error: BaseException, config: TrainConfig) -> str:
    """One line for a full disk: which one, and what can be done."""
    places = {"TMPDIR": tempfile.gettempdir()}
    if scheme_of(config.storage_path) == "file":
        places["storage_path"] = file_path(config.storage_path)
    named = str(getattr(error, "filename", None) or error)
    if _SHARED_MEMORY in named and not any(place.startswith(_SHARED_MEMORY) for place in places.values()):
        return (
            f"{_SHARED_MEMORY} is full, through which the GPUs of a node exchange gradients; give the container more "
            f"of it (--shm-size, or a larger emptyDir in memory), and {RESUME}"
        )
    inside = [name for name, place in places.items() if named.startswith(place) or f"'{place}" in named]
    setting = inside[-1] if inside else min(places, key=lambda name: _free(places[name]))
    return f"{setting}: the disk of {places[setting]} is full; free some room, or lower keep, and {RESUME}"


def _free(place: str) -> int:
    """Bytes free on the disk of a place that may not exist yet."""
    while not os.path.exists(place):
        place = os.path.dirname(place) or "/"
    return shutil.disk_usage(place).free
