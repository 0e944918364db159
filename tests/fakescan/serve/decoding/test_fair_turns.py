"""Turns: who gets the next place, and that a place is lost by nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fakescan.serve.decoding.fair_turns import FairTurns

pytestmark = pytest.mark.unit


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scene()

    asyncio.run(bounded())


class Work:
    """Notes the order in which work gets its place, and ends it when told."""

    def __init__(self, turns: FairTurns) -> None:
        self.turns = turns
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.gates: list[asyncio.Event] = []

    def add(self, key: str, cost: float = 1.0, size: float = 0.0) -> asyncio.Task[None]:
        async def work() -> None:
            await self.turns.enter(key, cost, size)
            self.order.append(key)
            gate = asyncio.Event()
            self.gates.append(gate)
            try:
                await gate.wait()
            finally:
                self.turns.leave(size)

        self.tasks.append(asyncio.ensure_future(work()))
        return self.tasks[-1]

    async def end_next(self) -> None:
        self.gates.pop(0).set()
        await settle()

    async def end_all(self) -> None:
        while self.gates:
            await self.end_next()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_key_with_a_queue_waits_for_itself() -> None:
    async def scene() -> None:
        work = Work(FairTurns(1))
        for _ in range(40):
            work.add("busy")
        await settle()
        for key in ("one", "two", "three"):
            work.add(key)
        await settle()
        for _ in range(10):
            await work.end_next()
        assert set(work.order[1:5]) >= {"one", "two", "three"}, "they came last, and are next but for one"
        await work.end_all()
        assert len(work.order) == 43

    run(scene)


def test_costs_count_and_not_their_number() -> None:
    async def scene() -> None:
        work = Work(FairTurns(1))
        work.add("first")
        await settle()
        for _ in range(10):
            work.add("large", 50.0)
            for _ in range(10):
                work.add("small", 5.0)
        await settle()
        for _ in range(45):
            await work.end_next()
        assert 3 <= work.order.count("large") <= 5
        assert work.order.count("small") >= 35
        await work.end_all()

    run(scene)


def test_a_key_that_was_idle_gains_nothing_by_it() -> None:
    async def scene() -> None:
        work = Work(FairTurns(1))
        for _ in range(20):
            work.add("steady")
        await settle()
        for _ in range(10):
            await work.end_next()
        for _ in range(10):
            work.add("late")
        await settle()
        for _ in range(10):
            await work.end_next()
        assert 4 <= work.order[10:].count("late") <= 6
        await work.end_all()

    run(scene)


def test_places_and_room_are_never_exceeded_and_all_come_in() -> None:
    async def scene() -> None:
        turns = FairTurns(4, room=100.0)
        inside: list[float] = []

        async def one(number: int) -> None:
            size = float(number * 37 % 90) + (60.0 if number % 11 == 0 else 0.0)
            await turns.enter(f"key {number % 5}", 1.0 + number % 7, size)
            inside.append(size)
            assert len(inside) <= 4
            assert sum(inside) <= 100.0 or len(inside) == 1, "what is larger than the room is alone"
            await asyncio.sleep(0)
            inside.remove(size)
            turns.leave(size)

        tasks = [asyncio.ensure_future(one(number)) for number in range(200)]
        await settle()
        for task in tasks[::3]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [error for error in ended if isinstance(error, AssertionError)], ended
        inside.clear()

    run(scene)


@pytest.mark.parametrize("moment", ["waiting", "granted"])
def test_who_leaves_the_queue_takes_no_place(moment: str) -> None:
    async def scene() -> None:
        turns = FairTurns(1)
        work = Work(turns)
        work.add("first")
        await settle()
        leaving = work.add("leaving")
        await settle()
        if moment == "granted":
            turns.running += 1
            turns.leave()  # nothing: there is no place
            work.gates.pop(0).set()
            await asyncio.sleep(0)
        leaving.cancel()
        await settle()
        work.add("last")
        await settle()
        await work.end_all()
        assert work.order[-1] == "last"
        assert (turns.running, turns.waiting) == (0, 0)

    run(scene)


def test_one_that_is_too_large_for_now_lets_others_in_when_it_leaves() -> None:
    async def scene() -> None:
        work = Work(FairTurns(2, room=10.0))
        work.add("first", size=6.0)
        large = work.add("large", size=8.0)
        work.add("small", size=2.0)
        await settle()
        assert work.order == ["first"], "those behind it wait, or it would wait forever"
        large.cancel()
        await settle()
        assert work.order == ["first", "small"]
        await work.end_all()

    run(scene)
