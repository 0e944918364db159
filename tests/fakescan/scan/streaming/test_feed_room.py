"""How many processes of the feed fit beside the engines, wherever Ray puts those."""

import itertools
import random
from typing import Any

import pytest
import ray
from ray.exceptions import RaySystemError

from fakescan.cluster_nodes import Node
from fakescan.scan.streaming import feed_room
from fakescan.scan.streaming.feed_room import SMALL_SHARE, Engines, FeedBound, FeedRoom, cpus_of_feed, tasks_that_fit

pytestmark = pytest.mark.unit

NONE = Engines(most=0, gpus=0.0, cpus=0.0)


@pytest.mark.parametrize(
    ("nodes", "engines", "tasks"),
    [
        # Two cores: two processes beside an engine, one beside four that sleep.
        ([Node(2.0)], Engines(1, 0.0, 0.5), 2),
        ([Node(2.0)], Engines(4, 0.0, 0.25), 1),
        # Four nodes of two CPUs, each with an engine: one process on each, and two on the head.
        ([Node(2.0), *[Node(2.0, 1.0)] * 4], Engines(4, 1.0, 0.25), 6),
        # The same with two engines: it may be any two of them.
        ([Node(2.0), *[Node(2.0, 1.0)] * 4], Engines(2, 1.0, 0.25), 8),
        # Eight engines of a node share it; none is elsewhere.
        ([Node(104.0, 8.0), Node(64.0)], Engines(8, 1.0, 2.0), 88 + 64),
        # Without nodes, and where engines take all: one, which waits.
        ([], Engines(4, 1.0, 2.0), 1),
        ([Node(2.0, 1.0)], Engines(1, 1.0, 2.0), 1),
        # Fractions of a CPU that no process fits in.
        ([Node(1.5)] * 10, NONE, 10),
    ],
)
def test_cpus_of_two_nodes_do_not_add_up(nodes: list[Node], engines: Engines, tasks: int) -> None:
    cpus = cpus_of_feed(sum(node.cpus for node in nodes))
    assert tasks_that_fit(nodes, engines, cpus) == tasks


@pytest.mark.parametrize("seed", range(40))
def test_they_fit_wherever_the_engines_are(seed: int) -> None:
    """Against every placement of the engines on small random clusters."""
    rng = random.Random(seed)
    nodes = [Node(rng.choice([1.0, 2.0, 3.0, 3.5, 8.0]), rng.choice([0.0, 1.0, 2.0])) for _ in range(4)]
    engines = Engines(rng.randint(1, 4), 1.0, rng.choice([0.25, 0.75, 1.0, 2.0]))
    tasks = tasks_that_fit(nodes, engines, 1.0)
    for counts in itertools.product(*(range(engines.on(node) + 1) for node in nodes)):
        left = [node.cpus - count * engines.cpus for node, count in zip(nodes, counts, strict=True)]
        if sum(counts) <= engines.most and min(left) >= 0:
            assert tasks <= max(1, sum(int(cpus) for cpus in left))


def test_a_process_has_one_cpu_except_on_a_small_cluster() -> None:
    assert [cpus_of_feed(cpus) for cpus in (0.0, 2.0, 4.0, 4.5, 1000.0)] == [SMALL_SHARE] * 3 + [1.0] * 2


def test_the_room_follows_the_cluster_and_outlasts_a_head_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now, nodes = [0.0], [{"CPU": 2.0}]

    def answer() -> list[dict[str, Any]]:
        if not nodes:
            raise RaySystemError("no answer")
        return [{"Alive": True, "Resources": resources} for resources in nodes] + [
            {"Alive": False, "Resources": {"CPU": 64.0}}
        ]

    monkeypatch.setattr(feed_room.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ray, "nodes", answer)
    room = FeedRoom(Engines(4, 1.0, 0.25))
    assert (room.tasks, room.arguments()) == (3, {"num_cpus": SMALL_SHARE})
    nodes += [{"CPU": 2.0, "GPU": 1.0}] * 4
    assert room.tasks == 3, "looked at now and then only"
    now[0] += 11
    assert (room.tasks, room.arguments()) == (6, {"num_cpus": 1.0})
    nodes.clear()
    now[0] += 11
    assert room.tasks == 6
    nodes.append({"CPU": 2.0})
    now[0] += 11
    assert (room.tasks, room.arguments()) == (2, {"num_cpus": 1.0})


def test_only_the_feed_is_bounded() -> None:
    class Stage:
        """As Ray Data's operators."""

        def __init__(self, active: int) -> None:
            self.active = active

        def num_active_tasks(self) -> int:
            return self.active

    feed, judge, room = Stage(0), Stage(100), FeedRoom(Engines(1, 0.0, 0.5))
    room._looked_at, room._tasks = float("inf"), 2
    bound = FeedBound(feed, room)
    assert bound.can_add_input(judge)
    for feed.active in range(4):
        assert bound.can_add_input(feed) == (feed.active < 2)
