"""Rate limits that several proxies share: never more than the limit, hardly less, and few calls."""

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fakescan.serve.gate.bounds import rate_limit as limiter
from fakescan.serve.gate.bounds.rate_limit import Bucket, LeasedLimiter, Rate, SharedLimiter, TokenLease

pytestmark = pytest.mark.unit

SLOW = Rate(per_second=10.0, burst=60)


class World:
    """A control actor, its proxies, and a time that passes only from one event to the next."""

    def __init__(self, proxies: int = 1, *, there_s: float = 0.0, back_s: float = 0.0) -> None:
        self.now = 1000.0
        self.control = SharedLimiter()
        self.calls = 0
        self.called_at = self.now
        self.fault: Exception | None = None
        self.later = False
        """Whether images beyond the first are charged when they have been judged."""
        self.there_s, self.back_s = there_s, back_s
        self.proxies = [
            LeasedLimiter(self._asker(number), self._reserve, clock=lambda: self.now) for number in range(proxies)
        ]
        self.admitted: list[float] = []
        self.refused: list[float] = []
        self.images = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()

    def at(self, time: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time, next(self._numbers), action))

    def request(self, time: float, rate: Rate, *, proxy: int = 0, key: str = "key", images: int = 1) -> None:
        self.at(time, lambda: self._start(self._request(proxy, key, rate, images)))

    async def run(self) -> None:
        """Let everything happen that is due, each event with all that follows from it at once."""
        with pytest.MonkeyPatch.context() as patch:
            # Calls end when this world's time says so; on a busy machine the event loop's own clock runs ahead of it.
            patch.setattr(asyncio, "timeout", lambda _: contextlib.nullcontext())
            while self._due:
                self.now, _, action = heapq.heappop(self._due)
                action()
                for _ in range(12):
                    await asyncio.sleep(0)
        assert not self._tasks, "a request was never answered"

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _request(self, proxy: int, key: str, rate: Rate, images: int) -> None:
        wait = await self.proxies[proxy].admit(key, rate)
        assert wait >= 0.0
        if wait:
            self.refused.append(self.now)
            return
        if images > 1 and not self.later and await self.proxies[proxy].reserve(key, rate, images - 1):
            self.refused.append(self.now)
            self.images += 1  # what it paid for and did not get
            return
        self.admitted.append(self.now)
        self.images += images
        if self.later:
            self.proxies[proxy].charge(key, images - 1)

    async def _reserve(self, key: str, rate: Rate, tokens: int, extra: int) -> float:
        self.calls += 1
        if self.fault is not None:
            raise self.fault
        await self._wait(self.there_s)
        wait = self.control.reserve(key, rate, tokens, extra, self.now)
        await self._wait(self.back_s)
        return wait

    async def _wait(self, seconds: float) -> None:
        if seconds:
            over = asyncio.get_running_loop().create_future()
            self.at(self.now + seconds, lambda: over.set_result(None))
            await over

    def _asker(self, proxy: int) -> limiter.AskForLease:
        async def ask(key: str, rate: Rate, wanted: int, extra: int) -> TokenLease:
            self.calls += 1
            self.called_at = self.now
            if self.fault is not None:
                raise self.fault
            await self._wait(self.there_s)
            lease = self.control.lease(key, rate, wanted, extra, self.now, proxy=proxy)
            await self._wait(self.back_s)
            return lease

        return ask


async def no_reserve(key: str, rate: Rate, tokens: int, extra: int) -> float:
    raise AssertionError("nobody asks")


def max_excess(times: list[float], rate: Rate) -> float:
    """By how much the admissions of the worst window exceed burst + per_second * its length."""
    # Of count - rate * time, the greatest rise from just before one admission to just after a later one.
    worst, before = -math.inf, math.inf
    for count, time in enumerate(sorted(times)):
        before = min(before, count - rate.per_second * time)
        worst = max(worst, count + 1 - rate.per_second * time - before)
    return worst - rate.burst


def overload(world: World, rate: Rate, *, seconds: float, times: float = 4.0) -> None:
    """Requests, evenly, to all proxies in turn, at a multiple of the rate."""
    count = int(seconds * rate.per_second * times)
    for number in range(count):
        time = world.now + number / (rate.per_second * times)
        world.request(time, rate, proxy=number % len(world.proxies))


# The bucket.


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(Rate(2.0, 3), 0.0)
    assert [bucket.take(1, 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert bucket.take(2, 0.5) == 0.5, "one is there, the other comes in half a second"
    assert bucket.take(2, 1.0) == 0.0
    assert [bucket.take(1, 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5], "never more than the burst"


def test_what_is_charged_is_paid_off() -> None:
    bucket = Bucket(Rate(2.0, 3), 0.0)
    bucket.charge(15, 0.0)
    assert bucket.take(1, 0.0) == pytest.approx(6.5)
    assert bucket.take(1, 6.0) == pytest.approx(0.5)
    assert bucket.take(1, 6.5) == 0.0


def test_more_than_the_burst_never_comes() -> None:
    assert Bucket(Rate(2.0, 3), 0.0).take(4, 0.0) == math.inf


def test_a_clock_that_steps_back_adds_nothing() -> None:
    bucket = Bucket(Rate(1.0, 1), 100.0)
    assert bucket.take(1, 100.0) == 0.0
    assert bucket.take(1, 50.0) == 1.0
    assert bucket.take(1, 100.5) == 0.5


@given(st.floats(0.1, 1000), st.integers(1, 50), st.floats(0, 1e7), st.integers(0, 200))
def test_after_the_wait_the_token_is_there(per_second: float, burst: int, now: float, used: int) -> None:
    bucket = Bucket(Rate(per_second, burst), now)
    bucket.charge(used, now)
    wait = bucket.take(1, now)
    assert wait == 0.0 or bucket.take(1, now + wait + 1e-6) == 0.0


# The limit, over all proxies.

gaps = st.sampled_from([0.0, 0.0, 0.001, 0.004, 0.02, 0.1, 0.5, 0.9, 0.999, 1.0, 1.2, 5.0]) | st.floats(0, 2)
arrivals = st.lists(st.tuples(gaps, st.integers(0, 4), st.integers(1, 15)), min_size=1, max_size=60)
delays = st.sampled_from([0.0, 0.0, 0.001, 0.05, 0.4])
BUSY_THEN_IDLE_THEN_ALL = [
    *[(0.0, proxy, 1) for proxy in range(5)],
    *[(0.1, proxy, 1) for proxy in range(5)],
    *[(0.01, proxy, 1) for proxy in range(5)],
    (0.9, 4, 15),
    *[(0.0, proxy, 15) for proxy in range(5)],
]


@given(
    arrivals,
    st.integers(1, 5),
    st.sampled_from([0.5, 2.0, 10.0, 50.0, 400.0]),
    st.sampled_from([1, 2, 3, 8, 40, 200]),
    delays,
    delays,
)
@example(BUSY_THEN_IDLE_THEN_ALL, 5, 50.0, 40, 0.0, 0.0)
@example(BUSY_THEN_IDLE_THEN_ALL, 5, 400.0, 40, 0.001, 0.4)
def test_no_window_has_more_than_the_limit(
    arrivals: list[tuple[float, int, int]], proxies: int, per_second: float, burst: int, there_s: float, back_s: float
) -> None:
    """Exact where answers take no time; else by what is added while an answer is under way. See the module's text."""
    rate = Rate(per_second, burst)
    world = World(proxies, there_s=there_s, back_s=back_s)
    time = world.now
    for gap, proxy, count in arrivals:
        time += gap
        for _ in range(count):
            world.request(time, rate, proxy=proxy % proxies)
    asyncio.run(world.run())
    assert len(world.admitted) + len(world.refused) == sum(count for *_, count in arrivals)
    assert max_excess(world.admitted, rate) <= per_second * back_s + 1e-6


FAST = Rate(per_second=1000.0, burst=80)


def warm_up(world: World) -> float:
    """Keep all proxies busy for 0.3 s, so that they have tokens ahead, and return when that ends."""
    overload(world, FAST, seconds=0.3, times=0.8)
    return world.now + 0.3


def test_tokens_ahead_that_lie_unused_count_against_the_burst() -> None:
    world = World(4)
    end = warm_up(world)
    asyncio.run(world.run())
    before = len(world.admitted)
    for number in range(400):
        world.request(end + 0.9, FAST, proxy=number % 4)
    asyncio.run(world.run())
    together = len(world.admitted) - before
    assert together <= 80
    assert max_excess(world.admitted, FAST) <= 1e-6


def test_at_least_half_the_burst_is_free_for_any_proxy() -> None:
    world = World(5)
    end = warm_up(world)
    asyncio.run(world.run())
    before = len(world.admitted)
    for _ in range(100):
        world.request(end + 0.9, FAST, proxy=4)
    asyncio.run(world.run())
    assert len(world.admitted) - before >= 40


@pytest.mark.parametrize("back_s", [0.0, 0.01])
@pytest.mark.parametrize("order", [(0,), (0, 1), (1, 0)], ids=str)
@pytest.mark.parametrize("after", [0.3, 0.99, 1.0, 1.0001, 1.005, 1.3])
def test_tokens_ahead_expire_before_others_get_them(after: float, order: tuple[int, ...], back_s: float) -> None:
    rate, world = Rate(per_second=100.0, burst=80), World(2, back_s=back_s)
    for number in range(35):
        world.request(world.now + number * 0.02, rate)
    asyncio.run(world.run())
    last_call = world.called_at
    for proxy in order:
        for _ in range(200):
            world.request(last_call + after, rate, proxy=proxy)
    asyncio.run(world.run())
    assert max_excess(world.admitted, rate) <= rate.per_second * back_s + 1e-6


def test_a_full_burst_is_let_in_however_it_is_spread() -> None:
    for proxies in (1, 3, 16):
        world = World(proxies)
        for number in range(100):
            world.request(world.now, SLOW, proxy=number % proxies)
        asyncio.run(world.run())
        assert len(world.admitted) == 60


@pytest.mark.parametrize(
    "rate", [Rate(1.0, 1), SLOW, Rate(50.0, 4), Rate(100.0, 20), Rate(1000.0, 100)], ids=lambda rate: str(rate)
)
@pytest.mark.parametrize("proxies", [1, 4, 16])
def test_overload_gets_nearly_the_whole_rate(rate: Rate, proxies: int) -> None:
    world = World(proxies, there_s=0.001, back_s=0.001)
    seconds = 800 / rate.per_second
    overload(world, rate, seconds=seconds)
    asyncio.run(world.run())
    assert max_excess(world.admitted, rate) <= rate.per_second * world.back_s + 1e-6
    assert len(world.admitted) >= 0.95 * (rate.burst + rate.per_second * seconds)


@pytest.mark.parametrize("proxies", [1, 4, 16])
def test_a_client_below_its_limit_is_hardly_refused(proxies: int) -> None:
    rate = Rate(per_second=100.0, burst=20)
    world = World(proxies, there_s=0.001, back_s=0.001)
    overload(world, rate, seconds=20, times=0.8)
    asyncio.run(world.run())
    assert len(world.refused) <= 0.01 * len(world.admitted)


def test_busy_keys_need_few_calls() -> None:
    world = World(there_s=0.001, back_s=0.001)
    overload(world, Rate(1000.0, 1000), seconds=5, times=0.9)
    asyncio.run(world.run())
    assert len(world.admitted) == 4500
    assert world.calls <= 60


def test_busy_keys_need_few_calls_above_their_limit_too() -> None:
    world = World(4, there_s=0.001, back_s=0.001)
    overload(world, Rate(1000.0, 1000), seconds=2)
    asyncio.run(world.run())
    assert world.calls <= 600, "for 8,000 requests"


def test_refused_requests_need_hardly_any() -> None:
    world = World(there_s=0.001, back_s=0.001)
    overload(world, Rate(per_second=1.0, burst=5), seconds=100, times=100.0)
    asyncio.run(world.run())
    assert len(world.refused) > 9800
    assert world.calls <= 2 * len(world.admitted) + 1


def test_requests_that_wait_together_share_one_call() -> None:
    world = World(there_s=0.1, back_s=0.1)
    for _ in range(50):
        world.request(world.now, SLOW)
    asyncio.run(world.run())
    assert (len(world.admitted), world.calls) == (50, 2), "one for the first, one for all that came meanwhile"


def test_keys_do_not_share() -> None:
    world = World()
    for number in range(120):
        world.request(world.now, SLOW, key=f"key {number % 2}")
    asyncio.run(world.run())
    assert len(world.admitted) == 120


# The control actor.


def test_a_refusal_says_when_to_come_back() -> None:
    shared, rate = SharedLimiter(), Rate(2.0, 4)
    assert shared.lease("key", rate, 6, 0, 0.0, proxy=1) == TokenLease(4, 0.5, limiter.LEASE_S)
    assert shared.lease("key", rate, 1, 0, 0.4, proxy=2).tokens == 0
    assert shared.lease("key", rate, 1, 0, 0.5, proxy=2).tokens == 1


def test_extra_images_are_charged_before_anything_is_lent() -> None:
    shared, rate = SharedLimiter(), Rate(2.0, 4)
    assert shared.lease("key", rate, 1, 5, 0.0, proxy=1) == TokenLease(0, 1.0, limiter.LEASE_S)
    assert shared.lease("key", rate, 0, 10, 0.0, proxy=1) == TokenLease(0, 0.0, limiter.LEASE_S)
    assert shared.lease("key", rate, 1, 0, 5.9, proxy=1).tokens == 0
    assert shared.lease("key", rate, 1, 0, 6.0, proxy=1).tokens == 1


def test_a_changed_rate_takes_effect() -> None:
    shared = SharedLimiter()
    assert shared.lease("key", Rate(1.0, 10), 10, 0, 0.0, proxy=1).tokens == 10
    assert shared.lease("key", Rate(100.0, 5), 9, 0, 1.0, proxy=1).tokens == 1, "the second before counts as it was"
    assert shared.lease("key", Rate(100.0, 5), 9, 0, 2.0, proxy=1).tokens == 5
    assert shared.lease("key", Rate(1.0, 3), 9, 0, 9.0, proxy=1).tokens == 3


def test_only_a_proxy_that_asks_often_gets_tokens_ahead() -> None:
    shared, rate = SharedLimiter(), Rate(100.0, 100)
    assert [shared.lease("key", rate, 1, 0, 1.5 * step, proxy=1).tokens for step in range(4)] == [1, 1, 1, 1]
    assert [shared.lease("key", rate, 1, 0, 9 + 0.3 * step, proxy=1).tokens for step in range(7)] == [
        *(1, 2, 4, 8, 16),
        *(21, 21),
    ], "0.2 s of the rate at most"


# The proxy.


def test_a_raised_limit_ends_a_refusal() -> None:
    world = World()
    for _ in range(2):
        world.request(world.now, Rate(0.001, 1))
    world.request(world.now + 1, Rate(10.0, 1))
    asyncio.run(world.run())
    assert [time - 1000.0 for time in world.admitted] == [0.0], "0.001 tokens have come"
    world.request(world.now + 1, Rate(10.0, 1))
    asyncio.run(world.run())
    assert [time - 1000.0 for time in world.admitted] == [0.0, 2.0]


def test_extra_images_count() -> None:
    world, rate = World(), Rate(1.0, 10)
    world.request(world.now, rate, images=16)
    world.request(world.now + 1.0, rate)
    world.request(world.now + 6.9, rate)
    world.request(world.now + 7.1, rate)
    asyncio.run(world.run())
    assert [round(time - 1000.0, 1) for time in world.admitted] == [0.0, 7.1]


def test_several_images_are_taken_at_once_or_not_at_all() -> None:
    """However many requests come at the same moment: none is let in on what it will have to pay later."""
    world, rate = World(), Rate(1.0, 40)
    for _ in range(8):
        world.request(world.now, rate, images=16)
    asyncio.run(world.run())
    assert (len(world.admitted), len(world.refused)) == (2, 6)
    assert world.images == 2 * 16 + 6


def test_more_images_than_the_burst_are_let_in_on_half_of_it() -> None:
    world, rate = World(), Rate(1.0, 10)
    for after in (0.0, 0.1, 30.0):
        world.request(world.now + after, rate, images=16)
    asyncio.run(world.run())
    assert [round(time - 1000.0, 1) for time in world.admitted] == [0.0, 30.0]


def test_several_images_without_a_control_actor() -> None:
    world, rate = World(), Rate(1.0, 40)
    world.fault = ConnectionError("gone")
    for _ in range(8):
        world.request(world.now, rate, images=16)
    asyncio.run(world.run())
    assert (len(world.admitted), len(world.refused)) == (2, 6)


def test_a_cancelled_request_takes_none_of_the_others_with_it() -> None:
    async def scenario() -> list[float]:
        asked, answer = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def lease(key: str, rate: Rate, wanted: int, extra: int) -> TokenLease:
            asked.set()
            return TokenLease(await answer, 60.0, 1.0)

        proxy = LeasedLimiter(lease, no_reserve, clock=lambda: 0.0)
        first, *others = [asyncio.create_task(proxy.admit("key", SLOW)) for _ in range(3)]
        await asked.wait()
        first.cancel()
        await asyncio.wait([first])
        answer.set_result(3)
        assert await asyncio.gather(*others) == [0.0, 0.0]
        # Nobody holds the token of the one that left, so it is void: this request has to ask.
        asked.clear()
        last = asyncio.create_task(proxy.admit("key", SLOW))
        await asyncio.wait([last])
        assert asked.is_set()
        assert first.cancelled()
        return [last.result()]

    assert asyncio.run(scenario()) == [0.0]


def test_without_a_control_actor_each_proxy_limits_alone(caplog: pytest.LogCaptureFixture) -> None:
    world = World(2)
    world.fault = ConnectionError("gone")
    for number in range(400):
        world.request(world.now + number / 100, SLOW, proxy=number % 2)
    with caplog.at_level(logging.WARNING):
        asyncio.run(world.run())
    assert len(world.admitted) == pytest.approx(2 * (60 + 40), abs=2)
    assert world.calls <= 2 * 5, "one attempt a second"
    assert [record.getMessage() for record in caplog.records] == [
        "rate limits hold for each proxy alone, the control actor fails: gone"
    ] * 2
    caplog.clear()

    world.fault, world.admitted = None, []
    for number in range(400):
        world.request(world.now + 1.5 + number / 100, SLOW, proxy=number % 2)
    asyncio.run(world.run())
    assert "together again" in caplog.text
    assert len(world.admitted) == pytest.approx(60 + 40, rel=0.2)


def test_a_failing_control_actor_gives_no_second_burst() -> None:
    world, rate = World(), Rate(0.1, 5)
    for attempt in range(10):
        world.at(world.now + 2 * attempt, lambda: setattr(world, "fault", ConnectionError()))
        world.at(world.now + 2 * attempt + 1.2, lambda: setattr(world, "fault", None))
    for number in range(200):
        world.request(world.now + number / 10, rate)
    asyncio.run(world.run())
    assert len(world.admitted) <= 2 * 5 + 4, "one burst here and one of the control actor's"


def test_a_silent_control_actor_delays_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "LEASE_S", 0.01)

    async def lease(*_: object) -> TokenLease:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> list[float]:
        proxy = LeasedLimiter(lease, no_reserve, clock=lambda: 0.0)
        waits = await asyncio.gather(*(proxy.admit("key", Rate(1.0, 2)) for _ in range(3)))
        return [*waits, await proxy.admit("other", Rate(1.0, 2))]

    assert asyncio.run(scenario()) == [0.0, 0.0, 1.0, 0.0]


def test_charges_are_not_lost_with_a_failed_call() -> None:
    world, rate = World(), Rate(1.0, 3)
    world.later = True
    world.request(world.now, rate, images=6)
    world.at(world.now, lambda: setattr(world, "fault", ConnectionError("gone")))
    world.request(world.now, rate)
    asyncio.run(world.run())
    assert (len(world.admitted), len(world.refused)) == (1, 1)


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 2), st.integers(1, 16)), max_size=60))
def test_in_the_long_run_images_come_at_the_rate(requests: list[tuple[float, int, int]]) -> None:
    """A request is let in on one token and may owe 15 more; a proxy that owes lets in none before that is paid."""
    rate, world = Rate(5.0, 10), World(3)
    for after, proxy, images in requests:
        world.request(world.now + after, rate, proxy=proxy, images=images)
    asyncio.run(world.run())
    last = max((after for after, *_ in requests), default=0.0)
    assert world.images <= rate.burst + rate.per_second * last + 3 * 15
