"""Shards: the cut of a run is fixed, and a part is named after its shard alone."""

import numpy as np
import pytest

from fakescan.run.parts import Sharding, part_name, part_shard, shard_rows_for
from fakevlm.preprocess import ImageSpec

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("rows", "shard_rows"), [(1, 1), (1, 256), (255, 256), (256, 256), (257, 256), (2000, 32)])
def test_the_shards_hold_every_row_once(rows: int, shard_rows: int) -> None:
    sharding = Sharding(rows, shard_rows)
    ids = [
        row
        for shard in range(sharding.count)
        for row in range(sharding.first(shard), sharding.first(shard) + sharding.size(shard))
    ]
    assert ids == list(range(rows))
    assert all(0 < sharding.size(shard) <= shard_rows for shard in range(sharding.count))


@pytest.mark.parametrize(
    ("rows", "mean_bytes", "shard_rows"),
    [
        (1, 0, 16),
        (256, 0, 16),
        (1600, 100_000, 50),
        (4096, 100_000, 128),
        (8192, 100_000, 256),
        (256_000_000, 100_000, 256),
        (10**9, 100_000, 792),
        (10**9, 0, 792),
        (10**9, 524_288, 500),
        (10**9, 4 * 2**20, 62),
        (10**6, 2**20, 64),
        (10**6, 60 * 2**20, 16),
        (1, 60 * 2**20, 16),
    ],
)
def test_small_sources_and_large_images_get_small_shards(rows: int, mean_bytes: int, shard_rows: int) -> None:
    assert shard_rows_for(rows, rows * mean_bytes) == shard_rows


@pytest.mark.parametrize(("edge", "shard_rows"), [(84, 4096), (112, 4096), (336, 792), (672, 198), (10_000, 16)])
def test_the_pixels_of_a_large_shard_fit_into_one_object(edge: int, shard_rows: int) -> None:
    image = ImageSpec(shortest_edge=edge, crop=(edge, edge))
    assert shard_rows_for(10**10, 0, image) == shard_rows


def test_rows_are_counted_with_a_short_last_shard() -> None:
    sharding = Sharding(1001, 10)
    for shards in ([], [0], [100], [5, 100], range(101)):
        expected = sum(sharding.size(shard) for shard in shards)
        assert sharding.rows_of(np.array(shards, dtype=np.int64)) == expected


@pytest.mark.parametrize("shard", [0, 1, 99_999_999])
def test_a_part_is_named_after_its_shard_alone(shard: int) -> None:
    assert part_shard(part_name(shard)) == shard
    assert part_name(1) == "part-00000001.parquet"


@pytest.mark.parametrize(
    "name",
    ["part-1.parquet", "part-00000001.parquet.tmp", ".part-00000001.parquet.ab.tmp", "part-00000001 (copy).parquet"],
)
def test_other_names_are_no_parts(name: str) -> None:
    assert part_shard(name) is None
