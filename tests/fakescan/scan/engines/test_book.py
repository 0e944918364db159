"""The book of engines: back-off, shunned nodes, lost engines, and a book that has forgotten everything."""

from dataclasses import dataclass

import pytest

from fakescan.scan.engines.book import BACK_OFF_S, LOADING_SILENT_S, MAX_STARTS, SILENT_S, EngineBook
from fakescan.scan.engines.life import EngineLife, Place

pytestmark = pytest.mark.unit


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> EngineBook:
    return EngineBook(clock)


def place(node: str, *, is_restarted: bool = False, stall_s: float | None = 60.0) -> Place:
    return Place(node, f"the node {node}", 1, 2, stall_s, is_restarted)


def fail(book: EngineBook, clock: Clock, life: EngineLife, node: str, reason: str = "no GPU") -> None:
    """The process waits until it may load, and fails."""
    while (wait := book.may_load(life, place(node)).wait_s) > 0:
        clock.now += wait
    clock.now += 1
    book.report_failed(life, place(node), reason)


def load(book: EngineBook, life: EngineLife, node: str) -> None:
    order = book.may_load(life, place(node))
    assert (order.wait_s, order.leave) == (0.0, None)
    book.report_loaded(life, place(node))


def test_a_node_is_shunned_after_three_starts_and_no_other_is(book: EngineBook, clock: Clock) -> None:
    begun = clock.now
    for number in range(MAX_STARTS):
        assert not book.situation().shunned
        fail(book, clock, EngineLife(f"actor-{number}", "p"), "bad", f"fault {number}")
    assert clock.now - begun == pytest.approx(sum(BACK_OFF_S) + MAX_STARTS)
    shunned = book.situation().shunned
    assert {node: (what.name, what.reason) for node, what in shunned.items()} == {"bad": ("the node bad", "fault 2")}
    order = book.may_load(EngineLife("another", "p"), place("bad"))
    assert order.leave == "fault 2"
    assert not order.has_shards
    load(book, EngineLife("another", "q"), "good")


def test_starts_that_fail_side_by_side_count_once(book: EngineBook, clock: Clock) -> None:
    lives = [EngineLife(f"actor-{number}", "p") for number in range(8)]
    for life in lives:
        assert book.may_load(life, place("node")).wait_s == 0
    clock.now += 1
    for life in lives:
        book.report_failed(life, place("node"), "the hub is busy")
    assert not book.situation().shunned


def test_a_start_that_succeeds_ends_the_row(book: EngineBook, clock: Clock) -> None:
    for number in range(2):
        fail(book, clock, EngineLife(f"a-{number}", "p"), "node")
    load_at = clock.now = clock.now + max(BACK_OFF_S)
    load(book, EngineLife("b", "p"), "node")
    assert clock.now == load_at
    for number in range(2):
        fail(book, clock, EngineLife(f"c-{number}", "p"), "node")
    assert not book.situation().shunned


def test_an_engine_comes_back_on_a_node_that_others_cannot_use(book: EngineBook, clock: Clock) -> None:
    """One of two GPUs is broken: the engine on the sound one dies of a poison image, and is started again."""
    load(book, EngineLife("sound", "1"), "node")
    for number in range(MAX_STARTS):
        fail(book, clock, EngineLife(f"broken-{number}", "p"), "node")
    assert set(book.situation().shunned) == {"node"}
    assert book.may_load(EngineLife("sound", "2"), place("node", is_restarted=True)).leave is None
    book.report_loaded(EngineLife("sound", "2"), place("node"))
    assert book.situation().working == 1


def test_one_that_never_comes_back_is_lost_and_parked(book: EngineBook, clock: Clock) -> None:
    load(book, EngineLife("other", "1"), "elsewhere")
    load(book, EngineLife("actor", "1"), "node")
    for process in range(2, 2 + MAX_STARTS):
        life = EngineLife("actor", str(process))
        fail(book, clock, life, "node")
        assert book.situation().parked == 0
    book.report_engine(EngineLife("other", "1"), place("elsewhere"), True, 5, 1)
    order = book.may_load(EngineLife("actor", "9"), place("node"))
    assert (order.leave, order.has_shards) == ("no GPU", True)
    situation = book.situation()
    assert (situation.working, situation.starting, situation.parked) == (1, 0, 1)
    assert situation.lost_s is not None
    assert situation.idle_s == 0
    clock.now += 7
    assert book.situation().idle_s == 7
    book.begin_pass()
    assert book.may_load(EngineLife("actor", "10"), place("node")).wait_s > 0, "of an earlier pass"
    situation = book.situation()
    assert (situation.working, situation.parked, situation.lost_s) == (0, 0, None)
    assert set(situation.shunned) == {"node"}


def test_a_node_on_which_an_engine_worked_is_a_place_for_the_next_pass(book: EngineBook, clock: Clock) -> None:
    """One of two GPUs is broken for good: the shards of its engine are for the other one, on the same node."""
    load(book, EngineLife("sound", "1"), "node")
    for number in range(MAX_STARTS):
        fail(book, clock, EngineLife(f"broken-{number}", "p"), "node")
        fail(book, clock, EngineLife(f"broken-{number}", "q"), "hopeless")
    assert set(book.situation().shunned) == {"node", "hopeless"}
    assert book.begin_pass() == {"node"}
    assert set(book.situation().shunned) == {"hopeless"}
    load(book, EngineLife("new", "1"), "node")


def test_a_process_that_ends_while_it_loads_has_failed(book: EngineBook, clock: Clock) -> None:
    for process in range(MAX_STARTS):
        while (wait := book.may_load(EngineLife("actor", str(process)), place("node")).wait_s) > 0:
            clock.now += wait
        clock.now += 1
    order = book.may_load(EngineLife("actor", "last"), place("node", is_restarted=True))
    assert "ended while the engine was loading" in (order.leave or "")
    assert not order.has_shards, "it never had an engine: another actor may take its place"


def test_silent_processes_are_named_after_their_patience(book: EngineBook, clock: Clock) -> None:
    loaded, loading = EngineLife("a", "1"), EngineLife("b", "1")
    patient = EngineLife("c", "1")
    load(book, loaded, "node")
    book.may_load(patient, place("node", stall_s=None))
    book.report_loaded(patient, place("node", stall_s=None))
    book.may_load(loading, place("node"))
    clock.now += SILENT_S + 1
    assert (book.situation().working, book.situation().silent) == (0, ())
    clock.now += 60 - SILENT_S
    assert [life for life, _ in book.situation().silent] == [loaded]
    book.bury(loaded)
    assert book.situation().silent == ()
    clock.now += LOADING_SILENT_S
    assert [life for life, _ in book.situation().silent] == [loading]
    book.bury(loading)
    assert book.situation().faults == {"node": "its process ended while the engine was loading"}


def test_a_book_that_has_forgotten_everything_learns_it_again(clock: Clock) -> None:
    book = EngineBook(clock)
    book.report_engine(EngineLife("a", "1"), place("one"), True, 7, 2)
    book.report_loaded(EngineLife("b", "1"), place("two"))
    book.report_failed(EngineLife("c", "1"), place("three"), "it was never asked whether it may")
    assert book.engines() == (3, 2)
    assert book.situation().working == 2
    order = book.may_load(EngineLife("d", "2"), place("one", is_restarted=True))
    assert order.has_shards, "for all that this book knows"
    assert book.situation().lost_s is None, "it is starting"


def test_a_mistake_is_for_the_driver(book: EngineBook) -> None:
    book.report_mistake("dtype: no")
    book.report_mistake("later")
    assert book.situation().mistake == "dtype: no"
    assert book.may_load(EngineLife("a", "1"), place("node")).wait_s > 0


def test_losses_are_counted_once_and_by_reason(book: EngineBook, clock: Clock) -> None:
    """For the metrics: what an engine says of its end, and what is found out about those that say nothing."""
    fail(book, clock, EngineLife("a", "p"), "good")
    load(book, EngineLife("b", "p"), "other")
    book.report_lost(EngineLife("b", "p"), "stalled")
    book.report_lost(EngineLife("b", "p"), "died")  # another shard of the same engine says it too
    load(book, EngineLife("b", "q"), "other")
    load(book, EngineLife("b", "r"), "other")  # q ended without a word
    book.bury(EngineLife("b", "r"))
    load(book, EngineLife("c", "p"), "other")
    book.bury(EngineLife("c", "p"), None)  # the pool has let it go
    situation = book.situation()
    assert situation.losses == {"start": 1, "stalled": 1, "gone": 1, "silent": 1}
    assert (situation.restarts, situation.lost, situation.working) == (2, 2, 0)


def test_a_process_that_ends_while_it_loads_is_a_start_that_failed(book: EngineBook) -> None:
    book.may_load(EngineLife("a", "p"), place("good"))
    book.bury(EngineLife("a", "p"))
    assert book.situation().losses == {"start": 1}
