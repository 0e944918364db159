"""Clusters of hashes: near ones are together, chains and strangers are not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fakevlm.near_duplicates import LIMIT
from fakevlm.near_duplicates.clusters import TABLES, picture_clusters

pytestmark = pytest.mark.unit


def random_hashes(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), np.uint8)


def changed(hashes: NDArray[np.uint8], bits: int, seed: int = 1) -> NDArray[np.uint8]:
    """The hashes with that many bits of each changed."""
    flips = np.random.default_rng(seed).random((len(hashes), 256)).argsort(axis=1) < bits
    return hashes ^ np.packbits(flips, axis=1)


def distances(hashes: NDArray[np.uint8], to: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.unpackbits(hashes ^ to, axis=1).sum(axis=1).astype(np.int64)


@pytest.mark.parametrize(("bits", "share"), [(0, 1.0), (8, 1.0), (16, 0.999), (LIMIT, 0.98), (LIMIT + 1, 0.0)])
def test_copies_are_found_among_strangers(bits: int, share: float) -> None:
    originals = random_hashes(20_000)
    found = picture_clusters(np.concatenate([originals, changed(originals[:2000], bits)]))
    assert np.array_equal(found[:20_000], np.arange(20_000))
    together = found[20_000:] == np.arange(2000)
    assert together.mean() >= share
    if share == 0.0:
        assert not together.any()


def test_every_member_is_within_the_limit_of_the_first() -> None:
    # A chain: each link changes 10 bits of the one before, so the ends have nothing in common.
    chain = [random_hashes(1)]
    for link in range(40):
        chain.append(changed(chain[-1], 10, seed=link))
    hashes = np.concatenate(chain)
    found = picture_clusters(hashes)
    assert len(set(found.tolist())) > 3
    assert np.array_equal(found[found], found)
    assert (found <= np.arange(len(found))).all()
    assert distances(hashes, hashes[found]).max() <= LIMIT


def test_against_all_pairs() -> None:
    centres = random_hashes(30)
    hashes = np.concatenate([centres, *(changed(centres, bits, seed=bits) for bits in (2, 5, 9))])
    near = np.array([(distances(hashes, one[None].repeat(len(hashes), 0)) <= LIMIT).argmax() for one in hashes])
    assert np.array_equal(picture_clusters(hashes), near)


def test_many_equal_ones_and_none() -> None:
    hashes = np.repeat(random_hashes(3), [1, 5000, 2], axis=0)
    assert picture_clusters(hashes).tolist() == [0] + [1] * 5000 + [5001] * 2
    assert picture_clusters(np.zeros((0, 32), np.uint8)).shape == (0,)
    assert picture_clusters(random_hashes(1)).tolist() == [0]


def test_the_same_each_time_and_progress_is_told() -> None:
    hashes = random_hashes(500)
    told: list[int] = []
    assert np.array_equal(picture_clusters(hashes, on_table=told.append), picture_clusters(hashes))
    assert sum(told) == TABLES


@pytest.mark.parametrize("wrong", [np.zeros((2, 16), np.uint8), np.zeros((2, 32), np.int64), np.zeros(32, np.uint8)])
def test_other_shapes_are_refused(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"hashes must be uint8\[n, 32\]"):
        picture_clusters(wrong)
