"""Where work on the parts of a run is done, batch by batch: in this process, or by tasks of a Ray cluster.

A batch is some parts; its work is a picklable callable that returns little. Few parts are done here, since joining a
cluster or starting Ray takes seconds. Whoever stops in the middle stops between two batches.
"""

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from fakescan.cluster import connect, names_cluster, ray_session
from fakescan.errors import JobFailedError
from fakescan.storage.errors import classify, store_errors
from fakescan.storage.url import redact_text, scheme_of
from fakevlm.errors import UserError, one_line

logger = logging.getLogger(__name__)

Batch = TypeVar("Batch")
Result = TypeVar("Result")

BATCH_PARTS = 256
"""Parts of one batch, as a rule: some tenths of a second of work."""
CLUSTER_PARTS = 2_000
"""Parts from which on a cluster is joined that was named."""
MACHINE_PARTS = 10_000
"""Parts from which on Ray is started on this machine, where it has several cores."""

_LOOK_S = 10.0
"""Seconds after which the size of a cluster, which may change, is asked for again."""
_RETRIES = 8
"""Times that Ray repeats a batch whose process or node died."""


@dataclass(frozen=True)
class Workers:
    """Who works on batches."""

    ray_address: str | None = None
    """The Ray cluster; None: RAY_ADDRESS, else a Ray of this machine."""
    fewest: int | None = None
    """Parts from which on Ray is used; None: as many as make it worth while."""

    def use_ray(self, parts: int) -> bool:
        """Whether so many parts are worked on by tasks of Ray."""
        if self.fewest is not None:
            return parts >= self.fewest
        if names_cluster(self.ray_address):
            return parts >= CLUSTER_PARTS
        return parts >= MACHINE_PARTS and (os.cpu_count() or 1) > 1

    def each(
        self,
        work: Callable[[Batch], Result],
        batches: Iterable[Batch],
        *,
        parts: int,
        url: str = "",
        memory: float = 0.0,
    ) -> Generator[Result, None, None]:
        """The work's result for each batch, in their order; `parts` in all, of the run at `url`.

        `memory`: bytes that a batch needs at most, where that is much. UserError and JobFailedError of the work are
        raised as they are, and a store's error as JobFailedError. Close the iterator to stop early.
        """
        if not self.use_ray(parts):
            for batch in batches:
                yield _outcome(work, batch).get()
            return
        with ray_session():
            connect(self.ray_address)
            _warn_of_local_folder(url)
            yield from _on_ray(work, batches, memory)


HERE = Workers(fewest=sys.maxsize)
"""This process alone, whose threads hide the latency of a store."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a batch came to. Exceptions travel as their class and one line: not all of them can be pickled."""

    result: Any = None
    failure: type[Exception] | None = None
    message: str = ""

    def get(self) -> Any:
        if self.failure is not None:
            raise self.failure(self.message)
        return self.result


def _outcome(work: Callable[[Any], Any], batch: Any) -> _Outcome:
    try:
        return _Outcome(work(batch))
    except UserError as error:
        return _Outcome(failure=UserError, message=str(error))
    except JobFailedError as error:
        return _Outcome(failure=JobFailedError, message=str(error))
    except store_errors() as error:
        logger.info("a batch failed", exc_info=error)
        return _Outcome(failure=JobFailedError, message=f"the store failed: {classify(error)[1]}")


def _on_ray(work: Callable[[Any], Any], batches: Iterable[Any], memory: float) -> Generator[Any, None, None]:
    import ray
    from ray.exceptions import RayError

    options: dict[str, Any] = {"num_cpus": 1, "max_retries": _RETRIES, "scheduling_strategy": "SPREAD"}
    if memory:
        options["memory"] = memory
    task = ray.remote(_outcome).options(**options)
    shared = ray.put(work)
    pending: deque[Any] = deque()
    size = _Size()
    try:
        for batch in batches:
            pending.append(task.remote(shared, batch))
            if len(pending) >= size.tasks():
                yield ray.get(pending.popleft()).get()
        while pending:
            yield ray.get(pending.popleft()).get()
    except RayError as error:
        logger.info("a task failed", exc_info=error)
        raise JobFailedError(f"the cluster could not do it: {redact_text(one_line(error))}") from error
    finally:
        for reference in pending:  # of a cluster that goes on without us
            with suppress(RayError, ValueError):
                ray.cancel(reference)


class _Size:
    """How many tasks to have at a cluster: two for each CPU, as many as it has now."""

    def __init__(self) -> None:
        self._tasks, self._seen_at = 0, 0.0

    def tasks(self) -> int:
        import ray

        now = time.monotonic()
        if not self._tasks or now - self._seen_at > _LOOK_S:
            cpus: float = ray.cluster_resources().get("CPU", 1.0)  # type: ignore[no-untyped-call]
            self._tasks, self._seen_at = 2 + 2 * int(max(cpus, 1.0)), now
        return self._tasks


def _warn_of_local_folder(url: str) -> None:
    import ray

    if scheme_of(url) == "file" and len(ray.nodes()) > 1:  # type: ignore[no-untyped-call]
        logger.warning("run: a local folder must be shared by all nodes of the cluster")
