"""Samples that are drawn by tasks of a Ray cluster."""

import pytest

from fakescan.review.plan import Design
from fakescan.review.sample import draw_sample
from fakescan.run.bulk.workers import Workers
from tests.fakescan.review.conftest import KnownRun

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("design", ["estimate", "discover"])
def test_tasks_of_ray_draw_what_this_process_draws(known: KnownRun, ray_cluster: object, design: Design) -> None:
    here = draw_sample(known.folder, design, 60, write=False)
    there = draw_sample(known.folder, design, 60, write=False, workers=Workers(fewest=1))
    assert there.sample.rows.equals(here.sample.rows)
