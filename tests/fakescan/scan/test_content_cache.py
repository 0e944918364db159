"""Content cache: each content is judged once, whichever shards and engines hold it and whichever of them die."""

import itertools
import random
import tracemalloc
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile
from fakescan.scan.content_cache import (
    CONTENT_BYTES,
    RECALLED,
    SILENT_S,
    ContentCache,
    EngineLife,
    Share,
    packed,
    recalled,
    unpacked,
)
from fakescan.scan.poison.deaths import IMAGE_DEATHS, SHARD_DEATHS, SPLIT
from fakescan.scan.tables import RowValues
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode, UserError
from fakevlm.verdict import Verdict
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit

ONE, TWO = EngineLife("one", "1"), EngineLife("two", "1")
ONE_AGAIN = EngineLife("one", "2")
A, B, C = (letter * 32 for letter in (b"A", b"B", b"C"))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ContentCache:
    return ContentCache(clock=clock)


def values(text: str = "This is a fake image.", shard: int = 0) -> bytes:
    data = packed(RowValues(Verdict.FAKE, 0.75, 1.5, 0.125, text), shard)
    assert data is not None
    return data


_engines = itertools.count()


def killed(cache: ContentCache, contents: list[bytes], times: int, *, alone: bool = False) -> None:
    """So many engines die while they judge these."""
    for _ in range(times):
        engine = EngineLife("victim", str(next(_engines)))
        cache.report_alive(engine)
        cache.start_judging(engine, contents, alone=alone)
    cache.report_alive(EngineLife("victim", str(next(_engines))))


float32 = st.floats(width=32, allow_nan=False)


@given(verdict=st.sampled_from(Verdict), numbers=st.tuples(float32, float32, float32), text=st.none() | st.text())
def test_values_survive_packing(verdict: Verdict, numbers: tuple[float, float, float], text: str | None) -> None:
    one = RowValues(verdict, *numbers, explanation=text)
    data = packed(one, 7)
    assert data is not None
    assert unpacked(data) == (one, 7)


def test_poison_survives_packing_and_other_errors_are_not_packed() -> None:
    data = packed(RowValues(error_code=ErrorCode.POISON, error_message="it died"), 7)
    assert data is not None
    one, shard = unpacked(data)
    assert (one.verdict, one.error_code, one.error_message, shard) == (None, ErrorCode.POISON, "it died", 7)
    assert np.isnan([one.score, one.logit, one.off_script]).all()
    assert packed(RowValues(error_code=ErrorCode.JUDGE_FAILED, error_message="refused"), 7) is None


def test_numbers_are_rounded_as_a_float32_column_rounds_them() -> None:
    data = packed(RowValues(Verdict.REAL, 0.1, -1 / 3, 1e-30), 0)
    assert data is not None
    one, _ = unpacked(data)
    assert [one.score, one.logit, one.off_script] == np.array([0.1, -1 / 3, 1e-30], np.float32).tolist()


def test_what_one_shard_claims_another_waits_for_and_gets(cache: ContentCache) -> None:
    assert cache.claim(ONE, 5, [A, B]) == Share(together=[A, B])
    assert cache.claim(TWO, 6, [B, C]) == Share(together=[C])
    assert cache.claim(TWO, 6, [B]) == Share()
    cache.settle(ONE, 5, {A: values("a"), B: values("b")})
    assert cache.claim(TWO, 6, [B]) == Share(known={B: values("b")})


def test_two_shards_of_one_engine_wait_for_each_other_too(cache: ContentCache) -> None:
    cache.claim(ONE, 5, [A])
    assert cache.claim(ONE, 6, [A]) == Share()


def test_a_question_that_ray_repeats_gets_the_same_answer(cache: ContentCache) -> None:
    cache.claim(ONE, 5, [A, B])
    assert cache.claim(ONE, 5, [A, B]) == Share(together=[A, B])
    cache.settle(ONE, 5, {A: values()})
    cache.settle(ONE, 5, {A: values()})
    assert cache.claim(ONE, 5, [A, B]) == Share(known={A: values()}, together=[B])


def test_what_an_engine_refused_is_judged_again_by_who_asks_next(cache: ContentCache) -> None:
    cache.claim(ONE, 5, [A])
    cache.settle(ONE, 5, {A: None})
    assert cache.claim(TWO, 6, [A]) == Share(together=[A])


def test_the_next_process_of_an_actor_frees_what_the_last_one_claimed(cache: ContentCache, clock: Clock) -> None:
    cache.claim(ONE, 5, [A, B])
    cache.start_judging(ONE, [A], alone=False)
    assert cache.claim(TWO, 6, [A, B]) == Share()
    cache.report_alive(ONE_AGAIN)
    assert cache.claim(TWO, 6, [A]) == Share(together=[A])
    assert cache.claim(ONE_AGAIN, 5, [A, B]) == Share(together=[B])


def test_the_last_words_of_a_dead_process_change_nothing_but_what_is_known(cache: ContentCache) -> None:
    cache.claim(ONE, 5, [A, B])
    cache.claim(ONE_AGAIN, 5, [A])
    cache.start_judging(ONE, [A, B], alone=True)
    assert cache.claim(ONE, 5, [B]) == Share(is_dead=True)
    cache.report_alive(ONE)
    assert cache.claim(TWO, 6, [A]) == Share(), "the new process is not taken for dead"
    cache.settle(ONE, 5, {B: values("b")})
    assert cache.claim(TWO, 6, [B]) == Share(known={B: values("b")})


def test_an_engine_that_is_silent_for_long_loses_its_claims_and_no_death_is_counted(
    cache: ContentCache, clock: Clock
) -> None:
    cache.claim(ONE, 5, [A])
    cache.start_judging(ONE, [A], alone=False)
    for _ in range(20):
        clock.now += SILENT_S
        cache.report_alive(ONE)
        assert cache.claim(TWO, 6, [A]) == Share()
    clock.now += SILENT_S + 1
    assert cache.claim(TWO, 6, [A]) == Share(together=[A])
    assert not cache._suspicions
    # It was alive after all.
    cache.settle(ONE, 5, {A: values("a")})
    assert cache.claim(TWO, 6, [A]) == Share(known={A: values("a")})
    cache.settle(TWO, 6, {A: values("b")})
    assert cache.claim(ONE, 7, [A]) == Share(known={A: values("a")}), "all copies are alike"
    assert not cache._claims


def test_suspects_are_judged_in_groups_then_alone_and_then_no_more(cache: ContentCache) -> None:
    many = [bytes([9, number]) * 16 for number in range(40)]
    killed(cache, many, SHARD_DEATHS - 1)
    assert cache.claim(ONE, 5, many) == Share(together=many)
    cache.report_alive(ONE_AGAIN)
    killed(cache, many, 1)
    share = cache.claim(ONE_AGAIN, 5, [*many, A])
    assert share.together == [A]
    assert [content for group in share.alone for content in group] == many
    assert len(share.alone) <= SPLIT
    group = share.alone[1]
    cache.report_alive(EngineLife("one", "3"))
    killed(cache, group, 1, alone=True)
    share = cache.claim(TWO, 5, group)
    assert share == Share(alone=[[content] for content in group])
    cache.report_alive(EngineLife("two", "2"))
    killed(cache, group[:1], IMAGE_DEATHS - 1, alone=True)
    assert cache.claim(ONE, 9, group[:1]) == Share(is_dead=True), "ONE is dead"
    assert cache.claim(EngineLife("one", "4"), 9, group[:1]) == Share(alone=[group[:1]])
    cache.report_alive(EngineLife("one", "5"))
    killed(cache, group[:1], 1, alone=True)
    last = EngineLife("two", "3")
    assert cache.claim(last, 9, group) == Share(poison=group[:1], alone=[[content] for content in group[1:]])
    poison = packed(RowValues(error_code=ErrorCode.POISON, error_message="it died"), 9)
    assert poison is not None
    cache.settle(last, 9, {group[0]: poison})
    assert cache.claim(EngineLife("one", "6"), 10, group[:1]) == Share(known={group[0]: poison})


def test_only_what_was_in_the_engine_is_suspected(cache: ContentCache) -> None:
    for number in range(SHARD_DEATHS + IMAGE_DEATHS):
        engine = EngineLife("one", str(number))
        cache.claim(engine, 5, [A, B, C])
        cache.start_judging(engine, [A, B], alone=False)
        cache.settle(engine, 5, {B: None})
    assert cache.claim(EngineLife("one", "last"), 5, [A, B, C]) == Share(together=[B, C], alone=[[A]])


def test_what_was_judged_after_all_is_no_suspect_any_more(cache: ContentCache) -> None:
    killed(cache, [A], SHARD_DEATHS)
    cache.claim(ONE, 5, [A])
    cache.settle(ONE, 5, {A: None})
    assert cache.claim(ONE, 6, [A]) == Share(together=[A])


def names(count: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(count)]


def test_memory_is_bounded_and_what_is_asked_for_stays() -> None:
    cost = CONTENT_BYTES + len(values())
    cache = ContentCache(max_bytes=100 * cost)
    cache.remember({A: values("kept")})
    for number, content in enumerate(names(1000)):
        cache.remember({content: values()})
        if number % 40 == 0:
            assert cache.claim(ONE, 1, [A]).known, "asked for again and again"
    known = [content for content in names(1000) if content in {**cache._known._old, **cache._known._young}]
    assert 49 <= len(known) <= 100
    assert known == names(1000)[-len(known) :], "the oldest go"


def test_what_was_known_first_stays_when_it_is_told_again() -> None:
    cost = CONTENT_BYTES + len(values("first"))
    cache = ContentCache(max_bytes=8 * cost)
    cache.remember({A: values("first")})
    cache.remember(dict.fromkeys(names(4), values("first")))
    assert A in cache._known._old
    cache.remember({A: values("other")})
    assert cache.claim(ONE, 1, [A]).known == {A: values("first")}


def test_a_content_takes_no_more_memory_than_is_said() -> None:
    rng = np.random.default_rng(0)
    contents = [rng.bytes(32) for _ in range(30_000)]
    tracemalloc.start()
    try:
        cache = ContentCache()
        before, _ = tracemalloc.get_traced_memory()
        for content in contents:
            cache.remember({bytes(bytearray(content)): values(None)})
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.6 * CONTENT_BYTES <= used / len(contents) <= CONTENT_BYTES


class Death(Exception):
    """The simulated engine's process ends."""


Work = Generator[None, None, dict[bytes, str]]


@dataclass
class Simulation:
    """Shards handed to engines that follow the cache's orders, as `Judge` does, and die of poison or of bad luck.

    Each engine runs some shards at once; which of them does its next step, and in which order Ray hands the shards of a
    dead engine to the next, is drawn.
    """

    shards: list[list[bytes]]
    poison: set[bytes]
    engines: int
    bad_luck: set[int]
    draw: random.Random
    clock: Clock = field(default_factory=Clock)
    results: dict[int, dict[bytes, str]] = field(default_factory=dict)
    judged: Counter[bytes] = field(default_factory=Counter)
    inside: Counter[EngineLife] = field(default_factory=Counter)
    calls: int = 0
    deaths: int = 0

    def run(self) -> None:
        self.cache = ContentCache(clock=self.clock)
        waiting = {actor: list(range(len(self.shards)))[actor :: self.engines] for actor in range(self.engines)}
        lives = dict.fromkeys(range(self.engines), 0)
        running: dict[int, dict[int, Work]] = {actor: {} for actor in lives}
        for _ in range(200_000):
            busy = [actor for actor in lives if waiting[actor] or running[actor]]
            if not busy:
                return
            actor = self.draw.choice(busy)
            life = EngineLife(str(actor), str(lives[actor]))
            if waiting[actor] and len(running[actor]) < 3 and self.draw.random() < 0.5:
                shard = waiting[actor].pop(0)
                running[actor][shard] = self.judge(life, shard)
            if not running[actor]:
                continue
            shard = self.draw.choice(list(running[actor]))
            self.clock.now += 0.01
            for number, count in lives.items():  # the threads that say so
                self.cache.report_alive(EngineLife(str(number), str(count)))
            try:
                next(running[actor][shard])
            except StopIteration as end:
                self.results[shard] = end.value
                del running[actor][shard]
            except Death:
                self.deaths += 1
                again = list(running[actor])
                self.draw.shuffle(again)
                waiting[actor] = [*again, *waiting[actor]]
                if self.draw.random() < 0.5:  # Ray resubmits tasks in an order of its own
                    self.draw.shuffle(waiting[actor])
                running[actor] = {}
                lives[actor] += 1
        raise AssertionError(f"no end: {running} {self.cache._claims}")

    def judge(self, life: EngineLife, shard: int) -> Work:
        results: dict[bytes, str] = {}
        while unknown := [content for content in dict.fromkeys(self.shards[shard]) if content not in results]:
            share = self.cache.claim(life, shard, unknown)
            yield
            results |= {content: unpacked(data)[0].error_code or "judged" for content, data in share.known.items()}
            for content in share.poison:
                results[content] = ErrorCode.POISON
                self.settle(life, shard, content, RowValues(error_code=ErrorCode.POISON))
            for contents, alone in [(share.together, False), *((group, True) for group in share.alone)]:
                if not contents:
                    continue
                while alone and self.inside[life]:
                    yield
                self.cache.start_judging(life, contents, alone=alone)
                if not alone:
                    self.inside[life] += 1
                    yield
                    self.inside[life] -= 1
                self.calls += 1
                if self.calls in self.bad_luck or self.poison & set(contents):
                    raise Death
                self.judged.update(contents)
                for content in contents:
                    results[content] = "judged"
                    self.settle(life, shard, content, RowValues(Verdict.REAL, 0.5, 0.0, 0.0))
                yield
        return results

    def settle(self, life: EngineLife, shard: int, content: bytes, one: RowValues) -> None:
        self.cache.settle(life, shard, {content: packed(one, shard)})


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_row_comes_out_right_and_deaths_are_bounded_whatever_goes_wrong(data: st.DataObject) -> None:
    contents = names(data.draw(st.integers(1, 60), "contents"))
    shard = st.lists(st.sampled_from(contents), min_size=1, max_size=40)
    shards = data.draw(st.lists(shard, min_size=1, max_size=12), "shards")
    present = sorted({content for one in shards for content in one})
    poison = set(data.draw(st.lists(st.sampled_from(present), max_size=3, unique=True), "poison"))
    bad_luck = set(data.draw(st.lists(st.integers(1, 20), max_size=1), "bad luck"))
    engines = data.draw(st.integers(1, 3), "engines")
    seed = data.draw(st.integers(0, 2**32), "seed")
    simulation = Simulation(shards, poison, engines, bad_luck, random.Random(seed))
    simulation.run()
    for number, one in enumerate(shards):
        expected = {content: "poison" if content in poison else "judged" for content in one}
        assert simulation.results[number] == expected
    # Not for each shard that holds it: for each poison among others, in a group and alone.
    assert simulation.deaths <= len(poison) * (SHARD_DEATHS + 1 + IMAGE_DEATHS) + len(bad_luck)
    assert not poison & simulation.judged.keys()
    assert set(simulation.judged.values()) <= {1}, "what is settled is never judged again"
    assert not simulation.cache._claims
    assert not simulation.cache._suspicions


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    """A complete run of 50 rows in 4 parts."""
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder)
    return folder


def contents_of(folder: RunFolder, shard: int) -> list[bytes]:
    """Give the rows of a part a hash each, and write it again."""
    run, table = folder.open(), folder.read_part(shard)
    assert table is not None
    rows: list[dict[str, Any]] = table.to_pylist()
    hashes = [f"{row['row_id']:064x}" for row in rows]
    table = table.set_column(table.schema.get_field_index("sha256"), "sha256", [hashes])
    folder.write_part(shard, part_bytes(table, run.sharding, shard))
    return [bytes.fromhex(sha256) for sha256, row in zip(hashes, rows, strict=True) if row["error_code"] is None]


def test_parts_are_recalled_from_the_last_on_and_errors_are_not(run_folder: RunFolder) -> None:
    hashes = {shard: contents_of(run_folder, shard) for shard in range(4)}
    found = {
        content: data
        for batch in recalled(run_folder, run_folder.open(), [0, 1, 2, 3])
        for content, data in batch.items()
    }
    assert list(found) == [*hashes[3], *hashes[2], *hashes[1], *hashes[0]]
    table = run_folder.read_part(1)
    assert table is not None
    for row in table.to_pylist():
        data = found.get(bytes.fromhex(row["sha256"]))
        assert (data is None) == (row["error_code"] is not None)
        if data is not None:
            one, shard = unpacked(data)
            assert shard == RECALLED
            columns = ("verdict", "score", "logit", "off_script", "explanation")
            assert [getattr(one, name) for name in columns] == [row[name] for name in columns]


def test_what_an_earlier_version_made_the_model_say_is_not_copied(run_folder: RunFolder) -> None:
    """Its explanations open with the verdict's word: where that is not the model's own, the content is judged again."""
    table = run_folder.read_part(0)
    assert table is not None
    rows = table.to_pylist()
    fakes = [row for row in rows if row["verdict"] == "fake"]
    fakes[0]["logit"], fakes[1]["logit"], fakes[1]["explanation"] = -0.5, -0.5, None
    run = run_folder.open()
    run_folder.write_part(0, part_bytes(pa.Table.from_pylist(rows, table.schema), run.sharding, 0))

    def contents(run: RunFile) -> set[bytes]:
        return {content for batch in recalled(run_folder, run, [0]) for content in batch}

    judged = {bytes.fromhex(row["sha256"]) for row in rows if row["verdict"]}
    assert contents(run) == judged
    old = RunFile.model_validate({**run.model_dump(), "schema_version": "2"})
    assert contents(old) == judged - {bytes.fromhex(fakes[0]["sha256"])}, "what has no explanation has no false one"


def test_no_more_is_recalled_than_fits(run_folder: RunFolder) -> None:
    hashes = {shard: contents_of(run_folder, shard) for shard in range(4)}
    room = (len(hashes[3]) + 1) * CONTENT_BYTES
    found = [content for batch in recalled(run_folder, run_folder.open(), [0, 1, 2, 3], room) for content in batch]
    assert found == [*hashes[3], *hashes[2]]


def test_a_damaged_part_is_one_clear_error(run_folder: RunFolder) -> None:
    path = run_folder.part(1)
    run_folder.fs.pipe_file(path, run_folder.fs.cat_file(path)[:-9])
    with pytest.raises(UserError, match=r"part-00000001.parquet of .* is damaged"):
        list(recalled(run_folder, run_folder.open(), [0, 1, 2]))


def test_nothing_is_recalled_of_a_run_that_begins(run_folder: RunFolder) -> None:
    assert list(recalled(run_folder, run_folder.open(), [])) == []
