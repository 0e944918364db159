"""The nodes of the connected Ray cluster, and those that its autoscaler may add."""

import logging
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fakevlm.errors import one_line

logger = logging.getLogger(__name__)

MAX_ADDED = 10_000
"""Nodes that a group without a bound of its own is taken to grow to."""
_HEAD = "node:__internal_head__"
"""Ray's name for the resource that only the head has."""
_ANSWER_S = 30.0
"""Seconds in which the head must have said what its autoscaler may add."""
_MONITOR = re.compile(r"/ray/autoscaler/(?:_private|v2)/monitor\.py$")
"""Ray's autoscaler, among the arguments of a process of the head."""
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Node:
    """What Ray may give away of one node."""

    cpus: float = 0.0
    gpus: float = 0.0

    def engines(self, gpus: float) -> int:
        """Engines with so many GPUs each (more than 0) that fit on it; no engine is on two nodes."""
        return math.floor(self.gpus / gpus + 1e-6)


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one kind that an autoscaler adds and removes."""

    name: str
    node: Node
    max_nodes: int


@dataclass(frozen=True)
class ClusterNodes:
    """A cluster as it is at one moment."""

    nodes: tuple[Node, ...] = ()
    """The nodes that are there; the head is the first."""
    groups: tuple[NodeGroup, ...] | None = ()
    """What an autoscaler may add; empty without one, None where that could not be found out."""
    max_added: int = MAX_ADDED
    """Nodes of all groups together that there may be."""

    @property
    def cpus(self) -> float:
        """CPUs that are there."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs that are there."""
        return sum(node.gpus for node in self.nodes)

    @property
    def may_grow(self) -> bool:
        """Whether an autoscaler may add nodes, as far as is known."""
        return self.groups is None or bool(self.groups)

    @property
    def reachable_gpus(self) -> float:
        """GPUs that are there or could be added: not a sum, but above 0 where there may be one."""
        return max([self.gpus, *(group.node.gpus for group in self.groups or ())])

    @property
    def max_cpus(self) -> float:
        """CPUs when the cluster is as big as it may be; without a bound where that is not known."""
        return math.inf if self.groups is None else max(self.cpus, self._grown(lambda node: node.cpus))

    @property
    def max_gpus(self) -> float:
        """GPUs when the cluster is as big as it may be; without a bound where that is not known."""
        return math.inf if self.groups is None else max(self.gpus, self._grown(lambda node: node.gpus))

    def engines(self, gpus: float) -> int:
        """Engines with so many GPUs each for which there is room now."""
        return sum(node.engines(gpus) for node in self.nodes)

    def max_engines(self, gpus: float) -> int:
        """Those for which there is room when the cluster is as big as it is known that it may be."""
        return max(self.engines(gpus), int(self._grown(lambda node: node.engines(gpus))))

    def engine_nodes(self, gpus: float) -> Iterator[Node]:
        """One node of each kind that has room for such an engine, of those that are there or could be added."""
        kinds = dict.fromkeys([*self.nodes, *(group.node for group in self.groups or ())])
        return (node for node in kinds if node.engines(gpus))

    def cpus_beside(self, gpus: float) -> float:
        """CPUs of the nodes, there or to come, that have no room for such an engine."""
        there = sum(node.cpus for node in self.nodes if not node.engines(gpus))
        to_come = sum(group.max_nodes * group.node.cpus for group in self.groups or () if not group.node.engines(gpus))
        return there + to_come

    def _grown(self, each: Callable[[Node], float]) -> float:
        """The sum of `each(node)` over the head and as many nodes of the groups as there may be."""
        total = each(self.nodes[0]) if self.nodes else 0.0
        left = self.max_added
        for group in sorted(self.groups or (), key=lambda group: each(group.node), reverse=True):
            added = min(group.max_nodes, left)
            total += added * each(group.node)
            left -= added
        return total


def connected_nodes() -> ClusterNodes:
    """The nodes of the cluster that this process is connected to, and what its autoscaler may add."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    alive.sort(key=lambda node: _HEAD not in node["Resources"])
    nodes = tuple(Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)) for node in alive)
    if not alive:
        return ClusterNodes()
    groups, max_added = _reported_groups() or _groups_by_head(alive[0]["NodeID"])
    return ClusterNodes(nodes, groups, max_added)


Growth = tuple[tuple[NodeGroup, ...] | None, int]
"""`groups` and `max_added` of `ClusterNodes`."""

_NOTHING: Growth = ((), MAX_ADDED)
_UNKNOWN: Growth = (None, MAX_ADDED)


def _reported_groups() -> Growth | None:
    """Groups that the platform has told Ray of; None where it has not, as all of Ray's own autoscalers."""
    from ray._private.state import state

    config = state.get_cluster_config()
    if config is None or not config.node_group_configs:
        return None
    groups = [
        NodeGroup(group.name, _node(group.resources), MAX_ADDED if group.max_count < 0 else group.max_count)
        for group in config.node_group_configs
    ]
    return tuple(group for group in groups if group.max_nodes), MAX_ADDED


def _groups_by_head(head: str) -> Growth:
    """What the autoscaler on the head may add: looked at from here where this is the head, else by a task there."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    context = ray.get_runtime_context()
    port = context.gcs_address.rpartition(":")[2]
    if context.get_node_id() == head:
        return groups_of_this_head(port)
    there = NodeAffinitySchedulingStrategy(head, soft=False)
    options: dict[str, Any] = {"num_cpus": 0, "max_retries": 1, "scheduling_strategy": there}
    asked = ray.remote(**options)(groups_of_this_head).remote(port)
    try:
        found: Growth = ray.get(asked, timeout=_ANSWER_S)
    except RayError as error:
        logger.info("the head does not say what its autoscaler may add: %s", one_line(error))
        return _UNKNOWN
    return found


def groups_of_this_head(gcs_port: str) -> Growth:
    """What the autoscaler of the cluster with this port may add. Called on the cluster's head."""
    config = _monitor_config(gcs_port)
    try:
        if config is not None:
            return _groups_of(yaml.safe_load(config.read_bytes()))
        cluster = os.environ.get("RAY_CLUSTER_NAME")
        if cluster and "KUBERNETES_SERVICE_HOST" in os.environ:
            return _kuberay_groups(cluster)
    except Exception as error:  # noqa: BLE001 - a file or an answer of any shape, of a service of any kind
        logger.info("what the autoscaler may add is not known: %s: %s", type(error).__name__, one_line(error))
        return _UNKNOWN
    return _NOTHING


def _monitor_config(gcs_port: str) -> Path | None:
    """The file from which the autoscaler of this machine reads its node groups; None where none adds nodes."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            arguments = (process / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
            if not any(_MONITOR.search(argument) for argument in arguments[:4]):
                continue
            options = dict(argument.partition("=")[::2] for argument in arguments)
            if options.get("--gcs-address", "").rpartition(":")[2] != gcs_port:
                continue
            file = options.get("--autoscaling-config")
            # Relative to the folder in which the head was started.
            return (process / "cwd").readlink() / Path(file).expanduser() if file else None
        except OSError:  # it has ended, or is somebody else's
            continue
    return None


def _groups_of(config: dict[str, Any]) -> Growth:
    """The node groups of an autoscaler's configuration."""
    bound = int(config.get("max_workers", MAX_ADDED))
    groups = []
    for name, kind in config["available_node_types"].items():
        is_head = name == config.get("head_node_type")
        most = int(kind.get("max_workers", 0 if is_head else bound))
        groups.append(NodeGroup(str(name), _node(kind.get("resources") or {}), min(most, bound)))
    return tuple(group for group in groups if group.max_nodes), bound


def _kuberay_groups(cluster: str) -> Growth:
    """The worker groups of a KubeRay cluster, as its autoscaler reads them; called on the head's pod."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

    namespace = os.environ.get("RAY_CLUSTER_NAMESPACE") or _POD_NAMESPACE.read_text().strip()
    try:
        resource = KubernetesHttpApiClient(namespace).get(f"rayclusters/{cluster}")
    except OSError as error:  # an HTTPError of `requests`
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            return _NOTHING  # KubeRay gives this right to the heads of clusters that have an autoscaler
        raise
    if not resource["spec"].get("enableInTreeAutoscaling"):
        return _NOTHING
    return _groups_of(_derive_autoscaling_config_from_ray_cr(resource))


def _node(resources: Any) -> Node:
    return Node(float(resources.get("CPU", 0.0)), float(resources.get("GPU", 0.0)))
