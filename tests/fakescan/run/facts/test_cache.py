"""The cache of parts' facts: whatever becomes of it, and of the parts, what is counted is what the parts hold."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.run.bulk.listing import PartListing
from fakescan.run.counts import Counts
from fakescan.run.facts import cache
from fakescan.run.facts.cache import FactsCache, Kind
from fakescan.run.facts.run_facts import count_run, read_facts
from fakescan.run.facts.table import counts_in, facts_table
from fakescan.run.facts.written import facts_of_written, read_back
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile
from fakescan.storage.store import Store
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run, result_rows

pytestmark = pytest.mark.unit


def reads(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Notes from now on which parts are read."""
    seen: list[int] = []
    read = RunFolder.part_data

    def noting(self: RunFolder, shard: int) -> bytes | None:
        seen.append(shard)
        return read(self, shard)

    monkeypatch.setattr(RunFolder, "part_data", noting)
    return seen


def files(folder: RunFolder) -> list[Path]:
    return sorted(Path(folder.path, "cache").glob("*"))


def facts(folder: RunFolder, run: RunFile) -> tuple[Counts, list[int]]:
    found = read_facts(folder, run, folder.listing().below(run.sharding.count))
    return counts_in(found.table), found.damaged.tolist()


def test_what_is_known_is_not_read_again(run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder.open()
    seen = reads(run_folder, monkeypatch)
    whole = Counts(50, 22, 21, 0, {"not_found": 7})
    assert facts(run_folder, run) == (whole, [])
    assert sorted(seen) == [0, 1, 2, 3]
    seen.clear()
    assert facts(run_folder, run) == (whole, [])
    assert seen == []
    rewrite(run_folder, run, 2, failed=True)
    assert facts(run_folder, run)[0].failed == 21
    assert seen == [2]
    shutil.rmtree(Path(run_folder.path, "cache"))
    seen.clear()
    assert facts(run_folder, run)[0].failed == 21
    assert sorted(seen) == [0, 1, 2, 3]


def test_on_s3_what_is_known_is_not_read_again(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(f"{s3_bucket.url}/run", s3_bucket.store)
    run = make_run(folder)
    before = facts(folder, run)
    seen = reads(folder, monkeypatch)
    assert facts(folder, run) == before
    assert seen == []
    data = folder.part_data(1)
    assert data is not None
    folder.write_part(1, data[:300] + bytes([data[300] ^ 1]) + data[301:])
    seen.clear()
    assert facts(folder, run)[1] == [1]
    assert seen == [1]


def test_the_writer_of_a_part_tells_the_cache(run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder.open()
    known = FactsCache(run_folder, run, Kind.COUNTS)
    for shard in range(4):
        data = run_folder.part_data(shard)
        assert data is not None
        run_folder.write_part(shard, data)
        known.add_part(read_back(shard, facts_of_written(run_folder, run.sharding, shard, data)))
    known.flush()
    seen = reads(run_folder, monkeypatch)
    assert facts(run_folder, run) == (Counts(50, 22, 21, 0, {"not_found": 7}), [])
    assert seen == []


def test_many_files_become_one(run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder.open()
    monkeypatch.setattr(cache, "_MAX_FILES", 2)
    before = facts(run_folder, run)
    for shard in range(3):
        rewrite(run_folder, run, shard, failed=False)
        facts(run_folder, run)
    assert len(files(run_folder)) < 4
    seen = reads(run_folder, monkeypatch)
    assert facts(run_folder, run) == before
    assert seen == []


def test_facts_of_other_slices_are_kept(run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder.open()
    monkeypatch.setattr(cache, "_MAX_FILES", 0)
    listing = run_folder.listing()
    read_facts(run_folder, run, listing)
    read_facts(run_folder, run, listing.between(0, 2))
    seen = reads(run_folder, monkeypatch)
    read_facts(run_folder, run, listing.between(2, 4))
    assert seen == []


def test_a_folder_that_takes_no_cache_is_read_all_the_same(run_folder: RunFolder) -> None:
    Path(run_folder.path, "cache").write_text("a file in its place")
    run = run_folder.open()
    for _ in range(2):
        assert facts(run_folder, run) == (Counts(50, 22, 21, 0, {"not_found": 7}), [])
    assert count_run(run_folder, run) == Counts(50, 22, 21, 0, {"not_found": 7})


def test_a_lie_about_another_version_of_a_part_is_not_believed(run_folder: RunFolder) -> None:
    """A sealed file of the cache whose facts are of parts that are no more."""
    run = run_folder.open()
    listing = run_folder.listing()
    honest = read_facts(run_folder, run, listing).table
    shutil.rmtree(Path(run_folder.path, "cache"))
    lie = honest.set_column(7, honest.schema.field("errors"), pa.array(['{"denied": 16}'] * 4))
    for column, name in ((1, "size"), (2, "stamp")):
        other = pa.array(honest[name].to_numpy() + 1)
        FactsCache(run_folder, run, Kind.COUNTS).add(lie.set_column(column, lie.schema.field(name), other))
    stranger = run.model_copy(update={"run_id": "another"})
    for one in (lie, facts_table([])):
        known = FactsCache(run_folder, stranger, Kind.COUNTS)
        known.add(one)
        known.flush()
    assert facts(run_folder, run) == (Counts(50, 22, 21, 0, {"not_found": 7}), [])


def rewrite(folder: RunFolder, run: RunFile, shard: int, *, failed: bool) -> None:
    """Another part, as a retry writes one: all its rows failed, or as they were at first."""
    sharding = run.sharding
    rows = folder.manifest(run).rows(sharding.first(shard), sharding.size(shard))
    table = result_rows(run, rows)
    if failed:
        nothing = {name: pa.nulls(len(rows), table.schema.field(name).type) for name in RESULTS_OF_A_VERDICT}
        nothing |= {name: pa.array(["denied"] * len(rows)) for name in ("error_code", "error_message")}
        for name, column in nothing.items():
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    folder.write_part(shard, part_bytes(table, sharding, shard))


RESULTS_OF_A_VERDICT = ("verdict", "score", "logit", "off_script", "explanation")


def test_whatever_happens_to_cache_and_parts_the_counts_are_those_of_the_parts(tmp_path: Path) -> None:
    """A walk of random steps; after each, what is known with the cache is what is known without one."""
    seed = int(os.environ.get("SEED", random.randrange(2**32)))
    print(f"SEED={seed}")
    chance = random.Random(seed)
    folder, other = RunFolder(str(tmp_path / "run"), Store()), RunFolder(str(tmp_path / "other"), Store())
    run = make_run(folder, rows=115, shard_rows=16)
    foreign = make_run(other, rows=115, shard_rows=16)
    facts(other, foreign)

    def a_file() -> Path | None:
        return chance.choice(files(folder)) if files(folder) else None

    def damage(path: Path | None) -> None:
        if path is None:
            return
        data = path.read_bytes()
        place = chance.randrange(len(data)) if data else 0
        changes: list[Callable[[], bytes]] = [
            lambda: data[:place],
            lambda: data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :],
            lambda: b"",
            lambda: chance.randbytes(100),
            lambda: data + b"more",
        ]
        path.write_bytes(chance.choice(changes)() if data else b"x")

    def a_shard() -> int:
        return chance.randrange(run.sharding.count)

    def a_part() -> Path | None:
        path = Path(folder.part(a_shard()))
        return path if path.exists() else None

    def remove(path: Path | None) -> None:
        if path is not None:
            path.unlink()

    def borrow() -> None:
        Path(folder.path, "cache").mkdir(exist_ok=True)
        for file in files(other):
            shutil.copy(file, Path(folder.path, "cache"))

    def swap() -> None:
        first, second = a_part(), a_part()
        if first is not None and second is not None and first != second:
            shutil.copy(first, second)

    def unsealed() -> None:
        if (path := a_part()) is not None:
            try:
                table = pq.read_table(path)
            except (OSError, pa.ArrowInvalid):
                return
            pq.write_table(table, path)

    steps: list[Callable[[], None]] = [
        lambda: shutil.rmtree(Path(folder.path, "cache"), ignore_errors=True),
        lambda: damage(a_file()),
        lambda: damage(a_part()),
        lambda: remove(a_file()),
        lambda: remove(a_part()),
        lambda: rewrite(folder, run, a_shard(), failed=chance.random() < 0.5),
        lambda: rewrite(folder, run, a_shard(), failed=chance.random() < 0.5),
        borrow,
        swap,
        unsealed,
    ]
    for _ in range(60):
        chance.choice(steps)()
        if chance.random() < 0.3:
            chance.choice(steps)()
        listing = folder.listing().below(run.sharding.count)
        found = read_facts(folder, run, listing)
        expected = {shard: folder.facts_of(run, shard) for shard in listing.shards.tolist()}
        sound = {shard: one for shard, one in expected.items() if one is not None}
        assert found.table["shard"].to_pylist() == sorted(sound)
        assert found.damaged.tolist() == sorted(expected.keys() - sound.keys())
        whole = Counts()
        for one in sound.values():
            whole.add(one.counts)
        assert counts_in(found.table) == whole
        assert found.table["last_scanned_at"].to_pylist() == [sound[shard].last_scanned_at for shard in sorted(sound)]
        seals = [str(sound[shard].seal)[:32] for shard in sorted(sound)]
        assert [seal.hex() for seal in found.table["seal"].to_pylist()] == seals


def test_an_empty_listing_knows_nothing(run_folder: RunFolder) -> None:
    run = run_folder.open()
    read_facts(run_folder, run, run_folder.listing())
    nothing = PartListing(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64))
    assert len(FactsCache(run_folder, run, Kind.COUNTS).load(nothing)) == 0
    assert len(read_facts(run_folder, run, nothing).table) == 0
