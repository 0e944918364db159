"""The nodes that a scan asks an autoscaler for: never a GPU for the feed, never more of them than its engines need."""

import pytest

from fakescan.cluster_nodes import Node
from fakescan.scan.streaming.cluster_growth import wanted_nodes
from fakescan.scan.streaming.feed_room import Engines

pytestmark = pytest.mark.unit

CPU, BIG_CPU, GPU, BIG_GPU = Node(8.0), Node(64.0), Node(16.0, 1.0), Node(104.0, 8.0)


@pytest.mark.parametrize(
    ("there", "kinds", "engines", "short", "wanted"),
    [
        # The feed brings CPUs: those that are there and one more, the smallest.
        ([CPU, GPU], [CPU, BIG_CPU, GPU], Engines(4, 1.0, 2.0), "feed", [CPU, CPU]),
        ([], [BIG_CPU, GPU], Engines(4, 1.0, 2.0), "feed", [BIG_CPU]),
        # It never brings a GPU.
        ([GPU], [GPU], Engines(4, 1.0, 2.0), "feed", []),
        # Engines bring GPUs, up to what all of them need.
        ([CPU, GPU], [CPU, GPU, BIG_GPU], Engines(4, 1.0, 2.0), "engine", [GPU, GPU]),
        ([GPU] * 4, [GPU], Engines(4, 1.0, 2.0), "engine", []),
        ([GPU], [GPU, BIG_GPU], Engines(4, 2.0, 2.0), "engine", []),
        ([GPU], [GPU, BIG_GPU], Engines(8, 2.0, 2.0), "engine", [GPU, BIG_GPU]),
        # Engines on CPUs bring CPUs.
        ([CPU], [CPU, GPU], Engines(4, 0.0, 0.5), "engine", [CPU, CPU]),
        # Both are short.
        ([CPU, GPU], [CPU, GPU], Engines(4, 1.0, 2.0), "feed engine", [GPU, GPU, CPU, CPU]),
        # A cluster of which it is not known what may be added grows by what it has.
        ([CPU, GPU], [], Engines(4, 1.0, 2.0), "feed engine", [GPU, GPU, CPU, CPU]),
        ([], [], Engines(4, 1.0, 2.0), "feed engine", []),
        ([CPU, GPU], [CPU, GPU], Engines(4, 1.0, 2.0), "", []),
    ],
)
def test_what_is_short_comes(
    there: list[Node], kinds: list[Node], engines: Engines, short: str, wanted: list[Node]
) -> None:
    found = wanted_nodes(there, kinds, engines, needs_engine="engine" in short, needs_feed="feed" in short)
    assert found == wanted
