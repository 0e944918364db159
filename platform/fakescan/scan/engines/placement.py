"""Where a scan's engines run: on GPUs or on CPUs, how many of them, and what Ray sets aside for each."""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

from fakescan.cluster_nodes import ClusterNodes, Node
from fakescan.engine.config import Device
from fakescan.engine.judging_settings import JudgingSettings
from fakescan.settings.replicas import Replicas
from fakescan.storage.url import scheme_of
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

FEED_CPUS = 1.0
"""CPUs that the feed needs at least, beside the engines."""
_GROWTH = 1.75
"""A pool of engines grows when each has this many times the shards that it judges at once; Ray Data's own number."""


@dataclass(frozen=True)
class Placement:
    """The engines of one pass, as plain numbers."""

    device: Device
    replicas: Replicas
    """The fewest and the most."""
    gpus: float
    """GPUs of each."""
    cpus: float
    """CPUs that Ray sets aside for each."""
    room: int | None = None
    """How many have a GPU now; None on CPUs."""
    may_grow: bool = False
    """Whether an autoscaler may add GPUs."""
    kinds: tuple[Node, ...] = ()
    """Nodes that an autoscaler may add, as far as is known."""

    def first(self, shards: int, in_flight: int) -> int:
        """Engines to ask for at the start, where each judges so many of the shards at once.

        An autoscaler sees only what is asked for: so a range asks for as many as have work, and those without a GPU
        wait for one. Elsewhere a range begins with the fewest.
        """
        if not self.gpus or not self.may_grow:
            return self.replicas.low
        with_work = math.ceil(shards / (in_flight * _GROWTH))
        return min(self.replicas.high, max(self.replicas.low, with_work))

    def in_words(self) -> str:
        """What the display says until the first engine loads."""
        if self.room is None:
            return "waiting for the engine's process"
        low, high = self.replicas.low, self.replicas.high
        if not self.room:
            return f"waiting for a GPU node: the cluster has none now; then {self._engines(low, high)}"
        if self.room < low:
            return f"waiting for GPU nodes: {self._engines(low, high)}, and there is room for {self.room}"
        if self.may_grow and self.room < high:
            return f"starting {self._engines(low, high)}; there is room for {self.room} now"
        return f"starting {self._engines(low, high)}"

    def _engines(self, low: int, high: int) -> str:
        count = f"{low}" if low == high else f"{low} to {high}"
        return f"{count} engine{'s' * (high > 1)} on {_gpus(low * self.gpus, high * self.gpus)}"


def place(config: JudgingSettings, cluster: ClusterNodes, shards: int) -> Placement:
    """The engines for so many shards on this cluster. Raises UserError where it has no room for them, nor will have.

    Where the settings name no number, every GPU has an engine, as far as there are shards for them.
    """
    if cluster.groups is not None:
        config.refuse_without_gpus(cluster.reachable_gpus)
    gpus = config.gpus_per_engine(cluster.reachable_gpus)
    return _on_gpus(config, cluster, gpus, max(shards, 1)) if gpus else _on_cpus(config, cluster)


def _on_gpus(config: JudgingSettings, cluster: ClusterNodes, gpus: float, shards: int) -> Placement:
    room, most = cluster.engines(gpus), cluster.max_engines(gpus)
    every = Replicas(low=min(max(room, 1), shards), high=min(max(most, 1), shards))
    replicas = config.replicas or every
    if replicas.low > most and cluster.groups is not None:
        needed = replicas.low * gpus
        more = f" and may grow to room for {most} engines" if cluster.may_grow else ""
        if needed <= cluster.gpus:
            more += f", at most {max(node.gpus for node in cluster.nodes):g} of them on one node"
        raise UserError(
            f"replicas: {replicas.low} engines with {gpus:g} GPUs each need {needed:g} GPUs, "
            f"the cluster has {cluster.gpus:g}{more}; lower --replicas or --gpus-per-replica"
        )
    if cluster.max_cpus < FEED_CPUS:
        raise UserError(f"the feed needs {FEED_CPUS:g} CPU, the cluster has {cluster.cpus:g}; add a node with CPUs")
    wanted = config.engine.reserved_cpus("cuda")
    nodes = list(cluster.engine_nodes(gpus))
    cpus = min(wanted, _cpus_beside_feed(nodes, gpus, cluster.cpus_beside(gpus)))
    return Placement("cuda", replicas, gpus, cpus, room, may_grow=cluster.may_grow, kinds=_kinds(cluster))


def _cpus_beside_feed(nodes: Iterable[Node], gpus: float, cpus_elsewhere: float) -> float:
    """CPUs that an engine may have on any of the nodes: half of what comes with its GPUs, the rest decodes.

    A node whose CPUs are all that a feed can have keeps as many as that needs: then an engine may have none.
    """
    shares = [node.cpus / node.engines(gpus) / 2 for node in nodes]
    if cpus_elsewhere < FEED_CPUS:
        shares += [max(0.0, node.cpus - FEED_CPUS) / node.engines(gpus) for node in nodes]
    return math.floor(min(shares, default=math.inf) * 100) / 100 if shares else math.inf


def _on_cpus(config: JudgingSettings, cluster: ClusterNodes) -> Placement:
    replicas = config.replicas or Replicas()
    each = config.engine.reserved_cpus("cpu")
    needed = replicas.low * each + FEED_CPUS
    if needed > cluster.max_cpus:
        more = f" and may grow to {cluster.max_cpus:g}" if cluster.may_grow else ""
        raise UserError(
            f"replicas: {replicas.low} engines and the feed need {needed:g} CPUs, "
            f"the cluster has {cluster.cpus:g}{more}; lower --replicas"
        )
    return Placement("cpu", replicas, 0.0, each, kinds=_kinds(cluster))


def _kinds(cluster: ClusterNodes) -> tuple[Node, ...]:
    return tuple(group.node for group in cluster.groups or ())


def warn_of_local_folders(config: JudgingSettings, cluster: ClusterNodes) -> None:
    """Warn where other nodes, those to come included, may not have the folders that the settings name."""
    local = [name for name in ("source", "output") if scheme_of(getattr(config, name)) == "file"]
    if local and (len(cluster.nodes) > 1 or cluster.may_grow):
        logger.warning("%s: a local folder must be shared by all nodes of the cluster", " and ".join(local))


def _gpus(low: float, high: float) -> str:
    count = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"{count} GPU{'s' * (high > 1)}"
