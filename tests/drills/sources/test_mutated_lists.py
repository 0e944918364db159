"""The drill: 3,000 mutated lists and Parquet files, of which none ends in a traceback or loses a row uncounted."""

from collections import Counter
from pathlib import Path

import pytest

from tests.mutated_lists import check

pytestmark = [pytest.mark.unit, pytest.mark.timeout(600)]


def test_mutations(tmp_path: Path) -> None:
    outcomes = Counter(check(seed, tmp_path) for seed in range(10_000, 13_000))
    assert outcomes.total() == 3_000
    assert min(outcomes[outcome] for outcome in ("whole", "damaged", "refused")) > 200
