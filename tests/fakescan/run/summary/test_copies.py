"""Copies: groups of equal hashes, however many there are."""

import hashlib
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.run.summary.copies import ContentHashes
from fakescan.run.summary.outcomes import ERROR

pytestmark = pytest.mark.unit

Row = tuple[str | None, int]


def hashes(rows: list[Row], *, parts: int = 1) -> ContentHashes:
    found, first = ContentHashes(len(rows)), 0
    for piece in np.array_split(np.arange(len(rows)), parts):
        texts = pa.chunked_array([pa.array([rows[index][0] for index in piece], pa.string())])
        found.add(first, texts, np.array([rows[index][1] for index in piece], np.int64))
        first += len(piece)
    return found


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


HALF_EQUAL = st.sampled_from("ab").map(lambda letter: "0" * 16 + sha(letter)[16:])
CONTENTS = st.one_of(st.none(), st.sampled_from("abcdef").map(sha), HALF_EQUAL)


@given(st.lists(st.tuples(CONTENTS, st.integers(0, ERROR)), max_size=40), st.integers(1, 4))
def test_it_groups_as_one_would_by_hand(rows: list[Row], parts: int) -> None:
    found = hashes(rows, parts=parts).counts(3)
    groups = defaultdict(list)
    for number, (text, _) in enumerate(rows):
        if text is not None:
            groups[text].append(number)
    copied = sorted((group for group in groups.values() if len(group) > 1), key=lambda group: (-len(group), group[0]))
    differing = [group for group in copied if len({rows[row][1] for row in group} - {ERROR}) > 1]
    assert (found.contents, found.rows, found.differing) == (len(copied), sum(map(len, copied)), len(differing))
    assert [group.rows.tolist() for group in found.largest] == copied[:3]
    assert [group.rows.tolist() for group in found.different] == differing[:3]
    for group in found.largest:
        assert Counter(group.outcomes.tolist()) == Counter(rows[row][1] for row in group.rows)


def test_what_is_no_hash_is_nobodys_copy() -> None:
    found = hashes([("ab", 0), ("ab", 0), ("z" * 64, 0), ("z" * 64, 0), ("", 0), ("", 0)]).counts(3)
    assert found.contents == 0


def test_no_rows_and_all_rows_the_same() -> None:
    assert hashes([]).counts(3).contents == 0
    found = hashes([(sha("x"), 1)] * 1000).counts(3)
    assert (found.contents, found.rows, found.differing) == (1, 1000, 0)
