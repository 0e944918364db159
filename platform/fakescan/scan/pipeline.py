"""Ray is told about the stages here, in one place: manifest shards to part summaries."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.scan.judge import Judge, JudgeSettings
from fakescan.scan.small_machine import QUEUED, FirstShards
from fakescan.scan.stages import Decode, Fetch, Write
from fakescan.scan.tables import PartSummary
from fakescan.settings.replicas import Replicas

FETCH_CPUS = 0.125
WRITE_CPUS = 0.0625
FEED_CPUS = 1.0
"""CPUs that the feed needs at least, beside the engines."""


def decode_cpus(cpus: float) -> float:
    """CPUs that Ray sets aside for one decoder: one, and on a small machine so much that two fit beside an engine.

    It differs from the engines' share on purpose: Ray Data fuses neighbours with the same resources, and decode must
    not run inside the judge.
    """
    return 0.5625 if cpus <= 4 else 1.0


def fetchers(cpus: float) -> int:
    """Fetching processes: each waits for many objects at once and fills four decoders, and costs a start-up."""
    return math.ceil(cpus / 4)


@dataclass(frozen=True)
class Pipeline:
    """The four stages and how many engines judge."""

    fetch: Fetch
    decode: Decode
    judge: JudgeSettings
    write: Write
    replicas: Replicas
    gpus_per_replica: float
    shard_rows: int

    def dataset(self, shards: NDArray[np.int64], ledger: Any) -> Any:
        """The lazy Ray dataset from shard numbers to summaries; one shard is one block from end to end."""
        import ray
        from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy

        _configure(DataContext.get_current())
        cpus: float = ray.cluster_resources().get("CPU", 1.0)  # type: ignore[no-untyped-call]
        in_flight = self.shards_in_flight()
        fetch, write = replace(self.fetch, ledger=ledger), replace(self.write, ledger=ledger)
        if self.judge.device == "cpu" and self.judge.engine.computes_on("cpu") and len(shards):
            first = shards[: self.replicas.low]  # one for each engine
            fetch = replace(fetch, first_shards=FirstShards(self.judge.run_id, int(first[-1]), ledger))
        pool = ActorPoolStrategy(
            min_size=self.replicas.low,
            max_size=self.replicas.high,
            enable_true_multi_threading=True,
            max_concurrent_calls_per_actor=in_flight,
            # A pool that may grow does so only when this is at least 1.75 times the calls.
            max_tasks_in_flight_per_actor=2 * in_flight if self.replicas.high > self.replicas.low else in_flight + 1,
        )
        whole_block: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow", "zero_copy_batch": True}
        return (
            ray.data.from_blocks([pa.table({"shard": [shard]}) for shard in shards.tolist()])
            .map_batches(fetch, num_cpus=FETCH_CPUS, compute=TaskPoolStrategy(fetchers(cpus)), **whole_block)
            .map_batches(self.decode, num_cpus=decode_cpus(cpus), **whole_block)
            .map_batches(
                Judge,
                fn_constructor_args=(self.judge, ledger),
                compute=pool,
                num_cpus=self.judge.engine.reserved_cpus,
                num_gpus=self.gpus_per_replica or None,
                **whole_block,
            )
            # A pool with a bound: Ray Data reserves an equal share of the CPUs for a stage without one, and on two
            # cores that is the share of the second decoder.
            .map_batches(write, num_cpus=WRITE_CPUS, compute=TaskPoolStrategy(fetchers(cpus)), **whole_block)
        )

    def run(self, shards: NDArray[np.int64], ledger: Any) -> Iterator[PartSummary]:
        """Execute, yielding a summary as each part has been written."""
        for batch in self.dataset(shards, ledger).iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            for row in batch.to_pylist():
                yield PartSummary.from_row(row)

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
    context.downstream_capacity_backpressure_ratio = QUEUED
    # Waiting for GPUs may take hours.
    context.execution_options.preserve_order = False
    if hasattr(context, "execution_no_progress_timeout_s"):
        context.execution_no_progress_timeout_s = 24 * 3600
