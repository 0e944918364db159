"""Which nodes a scan asks an autoscaler for, beyond those that its waiting engines need."""

import math
from collections.abc import Iterable
from typing import Any

from ray.data._internal.average_calculator import TimeWindowAverageCalculator
from ray.data._internal.cluster_autoscaler.default_cluster_autoscaler_v2 import DefaultClusterAutoscalerV2

from fakescan.cluster_nodes import Node
from fakescan.scan.streaming.feed_room import Engines, FeedRoom

_HEAD = "node:__internal_head__"
"""Ray's name for the resource that only the head has."""
_BUSY = 0.75
"""Share of the feed's room that is in use when there is too little of it; Ray Data's own number."""
_WINDOW_S = 10.0
"""Seconds over which that is averaged."""


def wanted_nodes(
    nodes: Iterable[Node], kinds: Iterable[Node], engines: Engines, *, needs_engine: bool, needs_feed: bool
) -> list[Node]:
    """The nodes to ask for: of the kind that is short, those that are there and one more, the smallest that helps.

    `nodes` are there, beside the head; `kinds` are those that an autoscaler may add. For the feed only nodes without
    GPUs are asked for, and for engines no more GPUs than all of them need.
    """
    there = list(nodes)
    known = dict.fromkeys([*there, *kinds])
    wanted: list[Node] = []
    if engines.gpus and needs_engine:
        same = [node for node in there if node.gpus]
        more = min((node for node in known if node.engines(engines.gpus)), key=_size, default=None)
        if more is not None and sum(node.gpus for node in [*same, more]) <= engines.most * engines.gpus + 1e-6:
            wanted += [*same, more]
    if needs_feed or (needs_engine and not engines.gpus):
        more = min((node for node in known if not node.gpus and node.cpus >= 1), key=_size, default=None)
        if more is not None:
            wanted += [*(node for node in there if not node.gpus), more]
    return wanted


def _size(node: Node) -> tuple[float, float]:
    return node.gpus, node.cpus


class ClusterGrowth(DefaultClusterAutoscalerV2):
    """Asks for CPU nodes while the feed has too few, and for GPU nodes while the engines have more than they can do.

    Ray Data's own asks for a node more of every kind while any resource is in use, and engines use all of their GPUs:
    so CPU nodes would come without end. And it names each node's memory, rounded: where that is more than the node
    has, another one would come for it.
    """

    def __init__(self, executor: Any, feed: Any, judge: Any, room: FeedRoom, kinds: Iterable[Node]) -> None:
        context = executor._data_context
        self._feed, self._room, self._kinds = feed, room, tuple(kinds)
        self._judge = judge
        self._pool_is_full = context.autoscaling_config.actor_pool_util_upscaling_threshold
        self._load = TimeWindowAverageCalculator(_WINDOW_S)
        super().__init__(
            executor._resource_manager,
            execution_id=executor._dataset_id,
            resource_limits=context.execution_options.resource_limits,
            label_selector=context.execution_options.label_selector,
        )

    def try_trigger_scaling(self) -> None:
        """Called by Ray Data at each of its steps."""
        self._resource_utilization_calculator.observe()  # type: ignore[no-untyped-call]  # for the metrics
        self._load.report(self._feed.num_active_tasks() / self._room.tasks)
        if self._get_time() - self._last_request_time < self._min_gap_between_autoscaling_requests_s:
            return
        needs_feed = self._load.get_average() >= _BUSY  # type: ignore[no-untyped-call]
        needs_engine = any(
            not pool.num_pending_actors()  # one that waits is seen by the autoscaler itself
            and pool.current_size() < pool.max_size()
            and pool.get_pool_util() >= self._pool_is_full
            for pool in self._judge.get_autoscaling_actor_pools()
        )
        wanted: list[Node] = []
        if needs_feed or needs_engine:
            wanted = wanted_nodes(
                _workers(), self._kinds, self._room.engines, needs_engine=needs_engine, needs_feed=needs_feed
            )
        # None: what was asked for last is asked for some minutes longer, since a node takes as long to start.
        self._send_resource_request([_bundle(node) for node in wanted] or None)


def _workers() -> list[Node]:
    """The nodes beside the head."""
    import ray

    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [Node(one.get("CPU", 0.0), one.get("GPU", 0.0)) for one in there if _HEAD not in one]


def _bundle(node: Node) -> dict[str, float]:
    resources = {"CPU": math.floor(node.cpus), "GPU": math.floor(node.gpus)}
    return {name: count for name, count in resources.items() if count}
