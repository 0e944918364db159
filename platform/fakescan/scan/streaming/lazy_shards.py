"""The source of a scan's shards: cut into groups as they are taken, so that a billion rows wait as one array.

Ray Data makes an object and a bundle of references of each block of its source before anything runs. Here the source
is a few blocks of many shard numbers, and each task of the first stage gets a slice of one: a group. That, several
blocks from one task, and a driver whose memory does not grow, are not to be had from Ray 2.60's public interface; all
that is used of the rest is in this module.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray.data._internal.cluster_autoscaler.default_cluster_autoscaler_v2 import DefaultClusterAutoscalerV2
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.interfaces import BlockSlice, RefBundle
from ray.data._internal.execution.operators.input_data_buffer import InputDataBuffer
from ray.data._internal.execution.operators.map_operator import MapOperator
from ray.data._internal.output_buffer import OutputBlockSizeOption

from fakescan.cluster_nodes import Node
from fakescan.scan.metrics.stage_metrics import ShardLevels
from fakescan.scan.streaming.cluster_growth import ClusterGrowth
from fakescan.scan.streaming.feed_room import FeedBound, FeedRoom

BLOCK_SHARDS = 65_536
"""Shard numbers in a block of the source, half a megabyte."""
MAX_GROUP = 8
"""Shards of one task at most: after its process died, all of them are done again."""
GROUPS_LEFT = 16
"""Groups that each CPU should still find, so that none is alone with a large one at the end."""
QUEUED_GROUPS = 256
"""Groups that wait for the first stage."""
_RECORD_S = 5.0
"""Seconds between two records of how many shards are where."""


def shard_blocks(shards: NDArray[np.int64]) -> list[pa.Table]:
    """The blocks of the source, with one column `shard`."""
    return [pa.table({"shard": shards[first : first + BLOCK_SHARDS]}) for first in range(0, len(shards), BLOCK_SHARDS)]


def lazy_shards(alone: int, room: FeedRoom, kinds: Sequence[Node], levels: ShardLevels) -> Any:
    """For `DataContext.custom_execution_callback_classes`.

    The first `alone` shards are groups of their own. `room` bounds the first stage. `kinds`: nodes that an autoscaler
    may add. `levels` is told now and then how many shards are where.
    """
    return partial(LazyShards, alone, room, kinds, levels)


class LazyShards(ExecutionCallback):
    """Makes an execution take its source lazily, and forget what it has done."""

    def __init__(self, alone: int, room: FeedRoom, kinds: Sequence[Node], levels: ShardLevels) -> None:
        self._alone = alone
        self._room = room
        self._kinds = kinds
        self._levels = levels
        self._recorded_at = -math.inf

    def before_execution_starts(self, executor: Any) -> None:
        """Put groups in place of the source's blocks, and let the first stage yield a block for each shard."""
        topology = executor._topology
        source = next(op for op in topology if isinstance(op, InputDataBuffer))
        source._input_data = Groups(  # type: ignore[assignment]
            source._input_data,
            waiting=topology[source].output_queue.__len__,
            cpus=lambda: executor._resource_manager.get_global_limits().cpu,
            alone=self._alone,
        )
        (first,) = source.output_dependencies
        assert isinstance(first, MapOperator)
        first._ray_remote_args_fn = self._room.arguments
        executor._backpressure_policies.append(FeedBound(first, self._room))
        *_, judge = topology
        if isinstance(executor._cluster_autoscaler, DefaultClusterAutoscalerV2):  # unless the user wants another one
            executor._cluster_autoscaler = ClusterGrowth(executor, first, judge, self._room, self._kinds)
        *_, last = first.get_map_transformer().get_transform_fns()
        last._output_block_size_option = OutputBlockSizeOption.of(disable_block_shaping=True)

    def on_execution_step(self, executor: Any) -> None:
        """Forget the statistics of single blocks, which nobody reads and which are kilobytes for each shard."""
        for op in executor._topology:
            if isinstance(op, MapOperator):
                op._output_blocks_stats.clear()
        now = time.monotonic()
        if now - self._recorded_at >= _RECORD_S:
            self._recorded_at = now
            self._record(executor._topology)

    def _record(self, topology: Any) -> None:
        source, feed, *_, last = (op for op in topology)
        begun = feed.metrics.rows_inputs_of_submitted_tasks
        decoded = feed.metrics.num_task_outputs_generated
        sent = last.metrics.num_tasks_submitted
        self._levels.record(
            waiting=source._input_data.shards - begun,
            feed=begun - decoded,
            decoded=decoded - sent,
            judge=sent - last.metrics.num_tasks_finished,
        )


class Groups:
    """What an `InputDataBuffer` takes for its list of bundles: the next one exists when there is room for it."""

    def __init__(
        self, blocks: list[RefBundle], *, waiting: Callable[[], int], cpus: Callable[[], float], alone: int
    ) -> None:
        self._blocks = blocks
        self._waiting = waiting
        self._cpus = cpus
        self._alone = alone
        self._left = self.shards = sum(block.num_rows() or 0 for block in blocks)
        self._block = self._row = self._taken = 0

    def __len__(self) -> int:
        """Groups taken so far, and one more if there is one to take.

        It must be there whenever none waits: a source without one, and with an empty queue, has ended for Ray.
        """
        return self._taken + (self._left > 0 and self._waiting() < QUEUED_GROUPS)

    def __getitem__(self, index: int) -> RefBundle:
        """The next group."""
        assert index == self._taken, "groups are taken in order, each once"
        block = self._blocks[self._block]
        rows = block.num_rows() or 0
        size = min(self._size(), rows - self._row)
        group = RefBundle(
            block.blocks, schema=block.schema, owns_blocks=False, slices=(BlockSlice(self._row, self._row + size),)
        )
        self._row += size
        self._left -= size
        self._taken += 1
        if self._row == rows:
            self._block, self._row = self._block + 1, 0
        return group

    def _size(self) -> int:
        if self._taken < self._alone:
            return 1
        return max(1, min(MAX_GROUP, int(self._left / (GROUPS_LEFT * max(self._cpus(), 1.0)))))
