"""Ray is told about the stages here, in one place: manifest shards to part summaries."""

import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.cluster_nodes import Node
from fakescan.scan.engines.node_choice import NodeChoice
from fakescan.scan.engines.passes import in_passes
from fakescan.scan.engines.watch import EngineWatch, Needs
from fakescan.scan.judge import JudgeSettings
from fakescan.scan.metrics.stage_metrics import ShardLevels
from fakescan.scan.small_machine import QUEUED, FirstShards
from fakescan.scan.stages import Decode, Fetch, Write
from fakescan.scan.streaming.feed import Feed
from fakescan.scan.streaming.judge_and_write import JudgeAndWrite
from fakescan.scan.tables import PartSummary
from fakescan.settings.replicas import Replicas


@dataclass(frozen=True)
class Pipeline:
    """The stages and how many engines judge."""

    fetch: Fetch
    decode: Decode
    judge: JudgeSettings
    write: Write
    replicas: Replicas
    gpus_per_replica: float
    shard_rows: int
    cpus_per_replica: float | None = None
    """CPUs that Ray sets aside for an engine. Default: those that it names."""
    first_replicas: int | None = None
    """Engines to start with, if not the fewest; see `fakescan.scan.engines.placement`."""
    kinds: tuple[Node, ...] = ()
    """Nodes that an autoscaler may add."""

    def dataset(self, shards: NDArray[np.int64], ledger: Any, nodes: NodeChoice | None = None) -> Any:
        """The lazy Ray dataset from shard numbers to summaries; a shard is one block all the way."""
        import ray
        from ray.data import ActorPoolStrategy, DataContext, ExecutionResources
        from ray.util.annotations import RayDeprecationWarning

        from fakescan.scan.streaming.feed_room import SMALL_SHARE, Engines, FeedRoom
        from fakescan.scan.streaming.lazy_shards import lazy_shards, shard_blocks

        context = DataContext.get_current().copy()
        _configure(context)
        room = FeedRoom(Engines(self.replicas.high, self.gpus_per_replica, self._cpus()))
        context.custom_execution_callback_classes = [
            lazy_shards(self.replicas.low, room, self.kinds, ShardLevels(self.judge.run_id))
        ]
        # Not beyond what the engines can use.
        limit = self.replicas.high * self.gpus_per_replica
        context.execution_options.resource_limits = ExecutionResources.for_limits(gpu=limit or None)
        in_flight = self.shards_in_flight()
        fetch, write = replace(self.fetch, ledger=ledger), replace(self.write, ledger=ledger)
        engine, device = self.judge.engine, self.judge.device
        if device == "cpu" and engine.computes_on("cpu") and len(shards):
            first = shards[: self.replicas.low]  # one for each engine
            fetch = replace(fetch, first_shards=FirstShards(self.judge.run_id, int(first[-1]), ledger))
        pool = ActorPoolStrategy(
            min_size=self.replicas.low,
            max_size=self.replicas.high,
            initial_size=self.first_replicas,
            enable_true_multi_threading=True,
            max_concurrent_calls_per_actor=in_flight,
            # A pool that may grow does so only when this is at least 1.75 times the calls.
            max_tasks_in_flight_per_actor=2 * in_flight if self.replicas.high > self.replicas.low else in_flight + 1,
        )
        whole_block: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow", "zero_copy_batch": True}
        with DataContext.current(context), warnings.catch_warnings():
            # Ray 2.60 calls `ray_remote_args_fn` deprecated, and has nothing else that is asked anew for each actor.
            warnings.simplefilter("ignore", RayDeprecationWarning)
            return (
                ray.data.from_blocks(shard_blocks(shards))
                # Its share of CPUs differs from the engines' on purpose: Ray Data fuses neighbours with the same
                # resources, and decoding must not run inside the judge.
                .map_batches(Feed(fetch, self.decode), num_cpus=SMALL_SHARE, **whole_block)
                # The same as map_batches, which refuses GPUs without a batch size: and with one it joins small shards.
                .map_batches_internal(
                    JudgeAndWrite,
                    fn_constructor_args=(self.judge, ledger, write),
                    compute=pool,
                    num_cpus=self._cpus(),
                    num_gpus=self.gpus_per_replica or None,
                    ray_remote_args_fn=nodes or NodeChoice(),
                    **whole_block,
                )
            )

    def run(self, shards: NDArray[np.int64], ledger: Any) -> Iterator[PartSummary]:
        """Execute, yielding a summary as each part has been written. Raises what ends the scan for want of engines."""
        watch = EngineWatch(ledger, Needs(self._cpus(), self.gpus_per_replica))
        return in_passes(lambda left: self.dataset(left, ledger, watch.nodes), shards, watch)

    def _cpus(self) -> float:
        if self.cpus_per_replica is not None:
            return self.cpus_per_replica
        return self.judge.engine.reserved_cpus(self.judge.device)

    def shards_in_flight(self) -> int:
        """Shards judged at once by one engine: enough that it never waits for the last rows of one."""
        seqs = self.judge.engine.requests_at_once(self.judge.device)
        return 2 + math.ceil(1.1 * seqs / self.shard_rows)


def _configure(context: Any) -> None:
    # Ray 2.60's own choice, "RATE_BASED", gives an execution only the CPUs of its present rate: on a small cluster that
    # is one decoder after some seconds, and it never asks for a second one. Ray reads this when the execution starts.
    os.environ.setdefault("RAY_DATA_CLUSTER_AUTOSCALER", "V2")
    # One shard is one block: never split an output by its size.
    context.target_max_block_size = None
    # A null among the pixels must be an error, not a column of pickled objects.
    context.enable_fallback_to_arrow_object_ext_type = False
    context.enable_progress_bars = False
    # An actor without an engine is replaced: `EngineWatch` decides when there is nothing left to try.
    context.max_consecutive_actor_init_deaths = -1
    context.downstream_capacity_backpressure_ratio = QUEUED
    # Waiting for GPUs may take hours.
    context.execution_options.preserve_order = False
    if hasattr(context, "execution_no_progress_timeout_s"):
        context.execution_no_progress_timeout_s = 24 * 3600
