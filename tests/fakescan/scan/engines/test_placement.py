"""Placement: the device, how many engines, what Ray sets aside for each; on clusters that are there or come later."""

import logging
from typing import Any

import pytest

from fakescan.cluster_nodes import ClusterNodes, Node, NodeGroup
from fakescan.scan.config import ScanConfig
from fakescan.scan.engines.placement import FEED_CPUS, place, warn_of_local_folders
from fakescan.settings.replicas import Replicas
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit

MANY = 1000
"""Shards; more than engines."""
CPU = Node(cpus=8)
GPU = Node(cpus=16, gpus=4)
SMALL_GPU = Node(cpus=2, gpus=1)
HEAD = Node()
"""A head that takes no work."""


def config(**settings: Any) -> ScanConfig:
    return ScanConfig(source="s3://b/in", output="s3://b/out", **settings)


def groups(**most: tuple[Node, int]) -> tuple[NodeGroup, ...]:
    return tuple(NodeGroup(name, node, count) for name, (node, count) in most.items())


@pytest.mark.parametrize(
    ("settings", "cluster", "device", "gpus"),
    [
        ({}, ClusterNodes((CPU,)), "cpu", 0),
        ({}, ClusterNodes((CPU, GPU)), "cuda", 1),
        ({}, ClusterNodes((CPU,), groups(gpu=(GPU, 2))), "cuda", 1),
        ({}, ClusterNodes((CPU,), groups(cpu=(CPU, 2))), "cpu", 0),
        ({}, ClusterNodes((CPU,), None), "cpu", 0),
        ({"device": "cuda"}, ClusterNodes((CPU,), None), "cuda", 1),
        ({"device": "cuda"}, ClusterNodes((CPU, GPU)), "cuda", 1),
        ({"device": "cuda"}, ClusterNodes((CPU,), groups(gpu=(GPU, 2))), "cuda", 1),
        ({"device": "cpu"}, ClusterNodes((CPU, GPU)), "cpu", 0),
        ({"device": "cpu"}, ClusterNodes((CPU,), groups(gpu=(GPU, 2))), "cpu", 0),
        ({"gpus_per_replica": 0}, ClusterNodes((CPU, GPU)), "cpu", 0),
        ({"gpus_per_replica": 2}, ClusterNodes((CPU, GPU)), "cuda", 2),
        ({"gpus_per_replica": 0.5, "device": "cuda"}, ClusterNodes((CPU, GPU)), "cuda", 0.5),
        ({"engine": "fake"}, ClusterNodes((CPU, GPU)), "cpu", 0),
        ({"engine": "fake", "device": "cuda"}, ClusterNodes((CPU, GPU)), "cuda", 1),
        ({"engine": "fake", "gpus_per_replica": 1}, ClusterNodes((CPU, GPU)), "cuda", 1),
    ],
)
def test_the_device(settings: dict[str, Any], cluster: ClusterNodes, device: str, gpus: float) -> None:
    placement = place(config(**settings), cluster, MANY)
    assert (placement.device, placement.gpus) == (device, gpus)


@pytest.mark.parametrize(
    ("settings", "cluster", "shards", "low", "high"),
    [
        ({}, ClusterNodes((CPU,)), MANY, 1, 1),
        ({}, ClusterNodes((HEAD, GPU, GPU)), MANY, 8, 8),
        ({}, ClusterNodes((HEAD, GPU, GPU)), 3, 3, 3),
        ({"gpus_per_replica": 0.5}, ClusterNodes((CPU, SMALL_GPU)), MANY, 2, 2),
        ({"gpus_per_replica": 3}, ClusterNodes((HEAD, GPU, GPU)), MANY, 2, 2),
        ({}, ClusterNodes((HEAD,), groups(gpu=(GPU, 2))), MANY, 1, 8),
        ({}, ClusterNodes((HEAD, GPU), groups(gpu=(GPU, 2))), MANY, 4, 8),
        ({}, ClusterNodes((HEAD, GPU), groups(gpu=(GPU, 2))), 2, 2, 2),
        ({}, ClusterNodes((HEAD,), groups(gpu=(GPU, 50), cpu=(CPU, 50)), max_added=10), MANY, 1, 40),
        ({"replicas": "1-4"}, ClusterNodes((HEAD,), groups(gpu=(SMALL_GPU, 8), cpu=(CPU, 1))), MANY, 1, 4),
        ({"replicas": 3}, ClusterNodes((HEAD, GPU, GPU)), MANY, 3, 3),
        ({"replicas": 3}, ClusterNodes((HEAD, GPU, GPU)), 1, 3, 3),
        ({"replicas": 6}, ClusterNodes((HEAD, GPU), groups(gpu=(GPU, 2))), MANY, 6, 6),
        ({"replicas": "1-99"}, ClusterNodes((HEAD, GPU)), MANY, 1, 99),
        ({"replicas": 99, "device": "cuda"}, ClusterNodes((CPU,), None), MANY, 99, 99),
        ({"replicas": 40, "device": "cpu"}, ClusterNodes((CPU,), groups(cpu=(CPU, 2))), MANY, 40, 40),
        ({"replicas": 40, "device": "cpu"}, ClusterNodes((CPU,), None), MANY, 40, 40),
    ],
)
def test_how_many_engines(settings: dict[str, Any], cluster: ClusterNodes, shards: int, low: int, high: int) -> None:
    assert place(config(**settings), cluster, shards).replicas == Replicas(low=low, high=high)


@pytest.mark.parametrize(
    ("settings", "cluster", "words"),
    [
        ({"device": "cuda"}, ClusterNodes((CPU,)), "device: cuda needs a GPU; there is none, and no autoscaler"),
        ({"device": "cuda"}, ClusterNodes((CPU,), groups(cpu=(CPU, 9))), "device: cuda needs a GPU"),
        ({"gpus_per_replica": 1}, ClusterNodes((CPU,)), "1 engines with 1 GPUs each need 1 GPUs, the cluster has 0; "),
        ({"replicas": 9}, ClusterNodes((CPU, GPU, GPU)), "need 9 GPUs, the cluster has 8; lower --replicas"),
        (
            {"gpus_per_replica": 8},
            ClusterNodes((CPU, GPU, GPU)),
            "need 8 GPUs, the cluster has 8, at most 4 of them on",
        ),
        (
            {"replicas": 9},
            ClusterNodes((CPU,), groups(gpu=(GPU, 2))),
            "has 0 and may grow to room for 8 engines; lower",
        ),
        ({"replicas": 99, "device": "cpu"}, ClusterNodes((CPU,)), "feed need 50.5 CPUs, the cluster has 8; lower"),
        ({"replicas": 99}, ClusterNodes((CPU,), groups(cpu=(CPU, 1))), "the cluster has 8 and may grow to 16; lower"),
        ({}, ClusterNodes((HEAD, Node(cpus=0.5, gpus=1))), "the feed needs 1 CPU, the cluster has 0.5"),
    ],
)
def test_what_never_will_be_is_refused(settings: dict[str, Any], cluster: ClusterNodes, words: str) -> None:
    with pytest.raises(UserError) as caught:
        place(config(**settings), cluster, MANY)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "cpus"),
    [
        (ClusterNodes((CPU, GPU)), 2.0),
        (ClusterNodes((HEAD, Node(cpus=64, gpus=8))), 2.0),
        (ClusterNodes((HEAD, Node(cpus=16, gpus=8))), 1.0),
        (ClusterNodes((CPU, SMALL_GPU)), 1.0),
        (ClusterNodes((SMALL_GPU,)), 1.0),
        (ClusterNodes((HEAD, SMALL_GPU, SMALL_GPU)), 1.0),
        (ClusterNodes((Node(cpus=1, gpus=1),)), 0.0),
        (ClusterNodes((CPU, Node(gpus=8))), 0.0),
        (ClusterNodes((CPU, Node(cpus=1, gpus=1))), 0.5),
        (ClusterNodes((HEAD, Node(cpus=3, gpus=2))), 0.75),
        (ClusterNodes((HEAD,), groups(gpu=(SMALL_GPU, 4))), 1.0),
        (ClusterNodes((CPU, GPU), groups(gpu=(SMALL_GPU, 4))), 1.0),
        (ClusterNodes((HEAD,), None), 2.0),
    ],
)
def test_an_engine_fits_on_its_node_and_leaves_room_for_the_feed(cluster: ClusterNodes, cpus: float) -> None:
    placement = place(config(device="cuda"), cluster, MANY)
    assert placement.cpus == cpus
    if cluster.groups == ():
        left = cluster.cpus - placement.replicas.low * placement.cpus
        assert left >= FEED_CPUS
        assert all(node.cpus >= node.engines(1) * placement.cpus for node in cluster.nodes)


def test_on_cpus_an_engine_takes_what_it_did() -> None:
    assert place(config(), ClusterNodes((CPU,)), MANY).cpus == 0.5
    assert place(config(engine="fake"), ClusterNodes((Node(cpus=2),)), MANY).cpus == 0.25


@pytest.mark.parametrize(
    ("settings", "cluster", "shards", "first"),
    [
        ({"replicas": "1-4"}, ClusterNodes((HEAD, GPU)), MANY, 1),
        ({"replicas": "1-4"}, ClusterNodes((HEAD,), groups(gpu=(GPU, 2))), MANY, 4),
        ({"replicas": "1-4"}, ClusterNodes((HEAD,), groups(gpu=(GPU, 2))), 12, 3),
        ({"replicas": "1-4"}, ClusterNodes((HEAD,), groups(gpu=(GPU, 2))), 1, 1),
        ({"replicas": "3-4"}, ClusterNodes((HEAD,), groups(gpu=(GPU, 2))), 1, 3),
        ({"replicas": "1-4", "device": "cpu"}, ClusterNodes((CPU,), groups(cpu=(CPU, 2))), MANY, 1),
        ({"replicas": 2}, ClusterNodes((HEAD,), groups(gpu=(GPU, 2))), MANY, 2),
    ],
)
def test_a_range_asks_an_autoscaler_for_engines_that_have_work(
    settings: dict[str, Any], cluster: ClusterNodes, shards: int, first: int
) -> None:
    """Three shards are in flight in each."""
    assert place(config(**settings), cluster, shards).first(shards, 3) == first


@pytest.mark.parametrize(
    ("settings", "cluster", "words"),
    [
        ({}, ClusterNodes((CPU,)), "waiting for the engine's process"),
        ({}, ClusterNodes((HEAD, GPU)), "starting 4 engines on 4 GPUs"),
        ({"replicas": 1}, ClusterNodes((HEAD, GPU)), "starting 1 engine on 1 GPU"),
        ({"replicas": 2, "gpus_per_replica": 2}, ClusterNodes((HEAD, GPU)), "starting 2 engines on 4 GPUs"),
        ({"replicas": 4, "gpus_per_replica": 0.5}, ClusterNodes((HEAD, GPU)), "starting 4 engines on 2 GPUs"),
        ({"replicas": "1-4"}, ClusterNodes((HEAD, GPU)), "starting 1 to 4 engines on 1 to 4 GPUs"),
        (
            {"replicas": "1-4"},
            ClusterNodes((HEAD,), groups(gpu=(GPU, 2))),
            "waiting for a GPU node: the cluster has none now; then 1 to 4 engines on 1 to 4 GPUs",
        ),
        (
            {"replicas": 6},
            ClusterNodes((HEAD, GPU), groups(gpu=(GPU, 2))),
            "waiting for GPU nodes: 6 engines on 6 GPUs, and there is room for 4",
        ),
        (
            {},
            ClusterNodes((HEAD, GPU), groups(gpu=(GPU, 2))),
            "starting 4 to 8 engines on 4 to 8 GPUs; there is room for 4 now",
        ),
    ],
)
def test_what_is_said(settings: dict[str, Any], cluster: ClusterNodes, words: str) -> None:
    assert place(config(**settings), cluster, MANY).in_words() == words


def test_local_folders_are_warned_of_where_there_are_other_nodes_or_may_be(caplog: pytest.LogCaptureFixture) -> None:
    settings = ScanConfig(source="/images", output="s3://b/out")
    with caplog.at_level(logging.WARNING):
        warn_of_local_folders(settings, ClusterNodes((CPU,)))
        assert not caplog.records
        for cluster in (ClusterNodes((CPU, CPU)), ClusterNodes((CPU,), groups(cpu=(CPU, 1)))):
            caplog.clear()
            warn_of_local_folders(settings, cluster)
            assert [record.message for record in caplog.records] == [
                "source: a local folder must be shared by all nodes of the cluster"
            ]


@pytest.mark.parametrize(
    "settings",
    [
        {"device": "cpu", "gpus_per_replica": 1},
        {"device": "cuda", "gpus_per_replica": 0},
        {"gpus_per_replica": 1.5},
        {"device": "gpu"},
        {"device": "tpu"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"device|gpus_per_replica"):
        config(**settings)
