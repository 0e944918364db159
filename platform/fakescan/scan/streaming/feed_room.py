"""How many processes of the feed fit beside the engines, and what Ray sets aside for each, as the cluster changes."""

import math
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ray.data._internal.execution.backpressure_policy import BackpressurePolicy

from fakescan.cluster_nodes import Node

SMALL_CPUS = 4.0
"""CPUs up to which a cluster is small."""
SMALL_SHARE = 0.625
"""CPUs of a process of the feed on a small cluster."""
_LOOK_S = 10.0
"""Seconds between two looks at the cluster."""


def cpus_of_feed(cpus: float) -> float:
    """CPUs that Ray sets aside for one process of the feed: one, and on a small cluster so much that two fit on two.

    On two cores there are then two beside an engine, and one beside four that sleep.
    """
    return SMALL_SHARE if cpus <= SMALL_CPUS else 1.0


@dataclass(frozen=True, slots=True)
class Engines:
    """What the engines of a scan take of the cluster."""

    most: int
    """Engines that there may be."""
    gpus: float
    """GPUs of each; 0: they run on CPUs."""
    cpus: float
    """CPUs that Ray sets aside for each."""

    def on(self, node: Node) -> int:
        """Engines that fit on a node."""
        if self.gpus:
            return node.engines(self.gpus)
        return math.floor(node.cpus / self.cpus + 1e-6) if self.cpus else 0


def tasks_that_fit(nodes: Iterable[Node], engines: Engines, cpus: float) -> int:
    """Processes of the feed, with so many CPUs each, that run at once wherever Ray puts the engines; at least one.

    CPUs of two nodes do not add up: what is left of each beside its engines counts by itself.
    """

    def fit(node: Node, count: int) -> int:
        return math.floor(max(node.cpus - count * engines.cpus, 0.0) / cpus + 1e-6)

    total, losses = 0, []
    for node in nodes:
        total += fit(node, 0)
        losses += [fit(node, count) - fit(node, count + 1) for count in range(min(engines.on(node), engines.most))]
    losses.sort(reverse=True)
    return max(1, total - sum(losses[: engines.most]))


class FeedRoom:
    """Follows the cluster of this process."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self._looked_at = -math.inf
        self._cpus = SMALL_SHARE
        self._tasks = 1

    def arguments(self) -> dict[str, Any]:
        """Ray's arguments for one process of the feed. Called for each."""
        self._look()
        return {"num_cpus": self._cpus}

    @property
    def tasks(self) -> int:
        """How many there may be now.

        One more would wait, and an autoscaler adds a node for whatever waits: one with a GPU if it has no other.
        """
        self._look()
        return self._tasks

    def _look(self) -> None:
        import ray
        from ray.exceptions import RayError

        now = time.monotonic()
        if now - self._looked_at <= _LOOK_S:
            return
        self._looked_at = now
        # A head that does not answer now is no reason to end the scan: Ray waits for it itself.
        with suppress(RayError, OSError, RuntimeError):
            there = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
            nodes = [Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0)) for resources in there]
            # Never less than before: beside those that have more, one less than this would fit.
            self._cpus = max(self._cpus, cpus_of_feed(sum(node.cpus for node in nodes)))
            self._tasks = tasks_that_fit(nodes, self.engines, self._cpus)


class FeedBound(BackpressurePolicy):
    """Tells Ray Data to start no process of the feed for which there is no room."""

    def __init__(self, feed: Any, room: FeedRoom) -> None:
        self._feed = feed
        self._room = room

    def can_add_input(self, op: Any) -> bool:
        """Whether `op` may start another task."""
        return op is not self._feed or op.num_active_tasks() < self._room.tasks
