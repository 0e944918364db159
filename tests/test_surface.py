"""Nothing that users build on changes unnoticed; see `tests/surface.py`."""

import json
from pathlib import Path

import pytest

from tests.surface import surface

pytestmark = pytest.mark.unit

FROZEN = json.loads((Path(__file__).parent / "surface.json").read_text())


@pytest.fixture(scope="module")
def now() -> dict:
    return json.loads(json.dumps(surface(), default=str))


@pytest.mark.parametrize("part", sorted(FROZEN))
def test_the_surface_is_as_it_was(now: dict, part: str) -> None:
    assert now[part] == FROZEN[part]


def test_the_surface_has_no_part_that_is_not_frozen(now: dict) -> None:
    assert sorted(now) == sorted(FROZEN)
