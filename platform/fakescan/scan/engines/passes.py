"""Executes a scan in passes: one as a rule, and another for the shards that lost engines hold."""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.scan.engines.watch import EngineWatch
from fakescan.scan.tables import PartSummary

logger = logging.getLogger(__name__)


def in_passes(
    dataset: Callable[[NDArray[np.int64]], Any], shards: NDArray[np.int64], watch: EngineWatch
) -> Iterator[PartSummary]:
    """The summary of each part, as it is written, of these shards in ascending order.

    Ray gives a shard that an actor has got to no other one, also where the actor has no engine any more. When only such
    are left, the pass is ended, and the shards without a summary are done by new actors. Raises what the watch found.
    """
    left = shards
    while len(left):
        is_done = np.zeros(len(left), dtype=np.bool_)
        with closing(_one_pass(dataset(left), watch)) as parts:
            for part in parts:
                position = int(np.searchsorted(left, part.shard))
                if position < len(left) and left[position] == part.shard:
                    is_done[position] = True
                watch.part_written()
                yield part
        if watch.failure is not None:
            raise watch.failure
        if not watch.starts_over:
            return
        left = left[~is_done]
        logger.warning("%d shards were with engines that are gone; other engines do them now", len(left))


def _one_pass(dataset: Any, watch: EngineWatch) -> Generator[PartSummary, None, None]:
    executors: list[Any] = []
    create = dataset._create_executor

    def keep_executor() -> Any:
        executors.append(create())
        return executors[-1]

    # The data set itself hands its executor out only after the first part.
    dataset._create_executor = keep_executor

    def stop() -> None:
        for executor in executors:
            executor.shutdown(force=True)

    with watch.following(stop):
        try:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in batch.to_pylist():
                    yield PartSummary.from_row(row)
        except Exception:
            if watch.failure is None and not watch.starts_over:
                raise
            logger.info("the pass was ended", exc_info=True)
