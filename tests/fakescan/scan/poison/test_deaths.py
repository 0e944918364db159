"""Poison ledger: deaths are counted by shard and span, and images that kill engines are found, and only they."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakescan.scan.poison.deaths import IMAGE_DEATHS, SHARD_DEATHS, SPLIT, Orders, PoisonLedger, Span, spans_of

pytestmark = pytest.mark.unit


def died_judging(ledger: PoisonLedger, shard: int, times: int) -> Orders:
    """`times` engines take the shard and die; what the next one is told."""
    for number in range(times):
        ledger.inquire(shard, f"engine-{number}")
        ledger.begin(shard, f"engine-{number}")
    return ledger.inquire(shard, "next")


@pytest.mark.parametrize(
    ("deaths", "alone"), [(0, False), (SHARD_DEATHS - 1, False), (SHARD_DEATHS, True), (SHARD_DEATHS + 3, True)]
)
def test_a_shard_is_judged_alone_after_enough_deaths(deaths: int, alone: bool) -> None:
    assert died_judging(PoisonLedger(), 5, deaths) == Orders(alone, {})


def test_a_shard_that_is_done_is_forgotten() -> None:
    ledger = PoisonLedger()
    died_judging(ledger, 5, SHARD_DEATHS)
    ledger.begin(5, "next")
    ledger.end(5)
    assert ledger.inquire(5, "later") == Orders(False, {})


def test_an_engine_that_died_before_it_began_is_no_death_of_the_shard() -> None:
    """A node that is lost while shards wait in its queue says nothing about them."""
    ledger = PoisonLedger()
    for number in range(10):
        orders = ledger.inquire(5, f"engine-{number}")
    assert not orders.alone


def test_the_same_engine_asking_again_is_no_death() -> None:
    ledger = PoisonLedger()
    for _ in range(10):
        orders = ledger.inquire(5, "engine")
        ledger.begin(5, "engine")
    assert orders == Orders(False, {})


def test_shards_have_their_own_counts() -> None:
    ledger = PoisonLedger()
    died_judging(ledger, 5, SHARD_DEATHS)
    assert not ledger.inquire(6, "next").alone


def test_solitary_deaths_are_counted_by_span_and_not_by_shard() -> None:
    ledger = PoisonLedger()
    died_judging(ledger, 5, SHARD_DEATHS)
    ledger.begin(5, "next", (0, 16))
    assert ledger.inquire(5, "second") == Orders(True, {(0, 16): 1})
    ledger.begin(5, "second", (0, 1))
    assert ledger.inquire(5, "third") == Orders(True, {(0, 16): 1, (0, 1): 1})
    ledger.begin(5, "third", (0, 1))
    assert ledger.inquire(5, "fourth") == Orders(True, {(0, 16): 1, (0, 1): 2})


def test_orders_do_not_change_when_the_book_does() -> None:
    ledger = PoisonLedger()
    died_judging(ledger, 5, SHARD_DEATHS)
    ledger.begin(5, "next", (0, 1))
    orders = ledger.inquire(5, "second")
    ledger.begin(5, "second", (0, 1))
    ledger.inquire(5, "third")
    assert orders.deaths == {(0, 1): 1}


@given(first=st.integers(0, 5000), length=st.integers(1, 5000))
def test_spans_cut_a_span_into_few_equal_ones(first: int, length: int) -> None:
    spans = spans_of((first, first + length))
    assert [position for start, end in spans for position in range(start, end)] == list(range(first, first + length))
    assert len(spans) <= SPLIT
    sizes = [end - start for start, end in spans]
    assert max(sizes) == -(-length // SPLIT)
    assert set(sizes[:-1]) <= {max(sizes)}
    assert length == 1 or max(sizes) < length, "a span must get smaller, or bisecting it never ends"


class Death(Exception):
    """The simulated engine's process ends."""


@dataclass
class Simulation:
    """Shards handed to engines that follow the ledger's orders, as `Judge` does, and die of poison."""

    sizes: list[int]
    poison: set[tuple[int, int]]
    bad_luck: set[int]
    """Numbers of judge calls at which an engine dies for a reason of its own."""
    ledger: PoisonLedger = field(default_factory=PoisonLedger)
    found: set[tuple[int, int]] = field(default_factory=set)
    judged: list[tuple[int, int]] = field(default_factory=list)
    calls: int = 0
    deaths: int = 0

    def run(self) -> None:
        waiting = list(range(len(self.sizes)))
        while waiting:
            try:
                # Three shards at a time are in the engine; when it dies, those that are not done are retried.
                self.judge(waiting, waiting[:3], f"engine-{self.deaths}")
            except Death:
                self.deaths += 1

    def judge(self, waiting: list[int], held: list[int], engine: str) -> None:
        orders = {shard: self.ledger.inquire(shard, engine) for shard in held}
        together = [shard for shard in held if not orders[shard].alone]
        for shard in together:
            self.ledger.begin(shard, engine)
        results = {shard: self.engine(shard, range(self.sizes[shard])) for shard in together}
        for shard in [*together, *(shard for shard in held if orders[shard].alone)]:
            if shard not in together:
                results[shard] = self.judge_alone(shard, engine, orders[shard], (0, self.sizes[shard]))
            self.ledger.end(shard)
            self.judged += results[shard]
            waiting.remove(shard)

    def judge_alone(self, shard: int, engine: str, orders: Orders, span: Span) -> list[tuple[int, int]]:
        images: list[tuple[int, int]] = []
        for part in spans_of(span):
            deaths = orders.deaths.get(part, 0)
            if part[1] - part[0] == 1 and deaths >= IMAGE_DEATHS:
                self.found.add((shard, part[0]))
                images.append((shard, part[0]))
            elif part[1] - part[0] > 1 and deaths:
                images += self.judge_alone(shard, engine, orders, part)
            else:
                self.ledger.begin(shard, engine, part)
                images += self.engine(shard, range(*part))
        return images

    def engine(self, shard: int, images: range) -> list[tuple[int, int]]:
        self.calls += 1
        judged = [(shard, image) for image in images]
        if self.calls in self.bad_luck or self.poison & set(judged):
            raise Death
        return judged


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_poison_is_found_whatever_else_goes_wrong(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 300), min_size=1, max_size=8), "sizes")
    every = [(shard, image) for shard, size in enumerate(sizes) for image in range(size)]
    poison = set(data.draw(st.lists(st.sampled_from(every), max_size=4, unique=True), "poison"))
    # Bad luck never strikes one image alone twice: that is what an image's second chance is for.
    bad_luck = set(data.draw(st.lists(st.integers(1, 40), max_size=1), "bad luck"))
    simulation = Simulation(sizes, poison, bad_luck)
    simulation.run()
    assert simulation.found == poison
    assert sorted(simulation.judged) == every, "each image gets one judgement"
    # Each poison: the shard's deaths, one a level of bisection (at most three for 300 images), the image's own.
    assert simulation.deaths <= len(poison) * (SHARD_DEATHS + 2 + IMAGE_DEATHS) + len(bad_luck)
