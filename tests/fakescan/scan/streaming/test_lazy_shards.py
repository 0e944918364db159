"""The lazy source: every shard in one group, in order, and never more waiting than there is room for."""

import numpy as np
import pyarrow as pa
import pytest
from ray import ObjectRef
from ray.data._internal.execution.interfaces import BlockEntry, RefBundle
from ray.data.block import BlockMetadata

from fakescan.scan.streaming.lazy_shards import BLOCK_SHARDS, MAX_GROUP, QUEUED_GROUPS, Groups, shard_blocks

pytestmark = pytest.mark.unit


def bundles(shards: np.ndarray) -> tuple[list[pa.Table], list[RefBundle]]:
    blocks = shard_blocks(shards)
    made = [
        RefBundle(
            (BlockEntry(ObjectRef.nil(), BlockMetadata(block.num_rows, block.nbytes, None, None)),),
            schema=block.schema,
            owns_blocks=False,
        )
        for block in blocks
    ]
    return blocks, made


def taken(shards: np.ndarray, *, cpus: float, alone: int = 1) -> list[list[int]]:
    """The groups, each as the numbers of its shards."""
    blocks, made = bundles(shards)
    groups = Groups(made, waiting=lambda: 0, cpus=lambda: cpus, alone=alone)
    numbers: list[list[int]] = []
    block, rows = 0, 0
    while len(numbers) < len(groups):
        (part,) = groups[len(numbers)].slices or ()
        assert part is not None
        if rows == blocks[block].num_rows:
            block, rows = block + 1, 0
        assert part.start_offset == rows
        rows = part.end_offset
        numbers.append(blocks[block]["shard"][part.start_offset : part.end_offset].to_pylist())
    return numbers


@pytest.mark.parametrize(
    ("count", "cpus"),
    [(1, 2.0), (2, 0.0), (7, 2.0), (100, 2.0), (5_000, 1000.0), (BLOCK_SHARDS, 2.0), (2 * BLOCK_SHARDS + 1, 0.0)],
)
def test_every_shard_is_in_one_group_in_order(count: int, cpus: float) -> None:
    shards = np.flatnonzero(np.arange(2 * count) % 2)
    groups = taken(shards, cpus=cpus)
    assert [shard for group in groups for shard in group] == shards.tolist()
    assert all(1 <= len(group) <= MAX_GROUP for group in groups)
    assert len(groups[0]) == len(groups[-1]) == 1


def test_groups_are_small_where_many_would_share_few() -> None:
    assert {len(group) for group in taken(np.arange(1000), cpus=64)} == {1}
    sizes = [len(group) for group in taken(np.arange(5000), cpus=4, alone=3)]
    assert sizes[:4] == [1, 1, 1, MAX_GROUP]
    assert sizes[3:] == sorted(sizes[3:], reverse=True)


def test_nothing_is_cut_while_enough_waits_and_something_whenever_nothing_does() -> None:
    waiting = QUEUED_GROUPS
    _, made = bundles(np.arange(100))
    groups = Groups(made, waiting=lambda: waiting, cpus=lambda: 2.0, alone=1)
    assert len(groups) == 0
    waiting = 0
    assert len(groups) == 1
    groups[0]
    waiting = QUEUED_GROUPS
    assert len(groups) == 1
    waiting = QUEUED_GROUPS - 1
    assert len(groups) == 2


def test_no_shards_are_no_groups() -> None:
    assert len(Groups(bundles(np.arange(0))[1], waiting=lambda: 0, cpus=lambda: 2.0, alone=1)) == 0
