"""Feed: a table for each shard of a group, the next one fetched while one is decoded."""

import threading
from typing import Any

import pyarrow as pa
import pytest

from fakescan.scan.streaming.feed import Feed

pytestmark = pytest.mark.unit


def numbers(table: pa.Table) -> list[int]:
    found: list[int] = table["shard"].to_pylist()
    return found


def feed(fetch: Any, decode: Any) -> Feed:
    return Feed(fetch, decode)


@pytest.mark.parametrize("group", [[5], [1, 2], [3, 4, 9, 10]])
def test_each_shard_is_a_table_of_its_own_in_order(group: list[int]) -> None:
    decoded = feed(lambda table: table, lambda table: table)(pa.table({"shard": group}))
    assert [numbers(table) for table in decoded] == [[shard] for shard in group]


def test_the_next_shard_is_fetched_while_one_is_decoded() -> None:
    fetched = {shard: threading.Event() for shard in range(3)}

    def fetch(table: pa.Table) -> pa.Table:
        fetched[numbers(table)[0]].set()
        return table

    def decode(table: pa.Table) -> pa.Table:
        (shard,) = numbers(table)
        assert shard == 2 or fetched[shard + 1].wait(10)
        return table

    tables = feed(fetch, decode)(pa.table({"shard": [0, 1, 2]}))
    next(tables)
    assert not fetched[2].is_set(), "one shard ahead, and no more: the files of two are in memory"
    assert [numbers(table) for table in tables] == [[1], [2]]


def test_what_a_fetch_raises_ends_the_task_after_the_shards_before() -> None:
    def fetch(table: pa.Table) -> pa.Table:
        if numbers(table) == [1]:
            raise ValueError("away")
        return table

    tables = feed(fetch, lambda table: table)(pa.table({"shard": [0, 1, 2]}))
    assert numbers(next(tables)) == [0]
    with pytest.raises(ValueError, match="away"):
        next(tables)
