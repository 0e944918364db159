"""Engines that die while each content is judged once."""

import shutil
from pathlib import Path

import psutil
import pytest
from PIL import Image

from fakescan.engine.config import SimulatedConfig
from fakescan.scan.poison.deaths import IMAGE_DEATHS, SHARD_DEATHS
from fakescan.scan.tables import PartSummary
from tests.drill_images import POISON_RGB
from tests.fakescan.scan.test_dedupe import (
    CONTENTS,
    FILES,
    Rows,
    Scan,
    facts,
    images,
    judges,
    plain,
    plain_scan,
    restarts,
    scan,
)

__all__ = ["images", "plain", "plain_scan", "scan"]

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_judge_that_is_killed_in_the_middle_costs_no_row(scan: Scan, plain: Rows, replicas: int) -> None:
    """With one engine, retried shards fill all its threads and may wait for one that is not there yet."""
    killed: list[psutil.Process] = []

    def kill(part: PartSummary) -> None:
        if not killed:
            killed.append(judges()[0])
            killed[0].kill()

    slow = SimulatedConfig(max_num_seqs=1, step_s=0.3)
    before = restarts()
    outcome = scan("run", kill, dedupe=True, engine=slow, shard_rows=4, replicas=replicas)
    assert restarts() == before + 1
    assert facts(outcome) == plain
    assert outcome.copies == FILES - CONTENTS, "what a retried shard had judged itself is no copy"


@pytest.mark.parametrize("replicas", [1, 2])
def test_poison_among_copies_is_found_once_for_all_of_them(
    scan: Scan, images: Path, plain: Rows, tmp_path: Path, replicas: int
) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    names = [f"{number:04}-poison.png" for number in (3, 4, 30, 31, 50, 80)]
    for name in names:
        Image.new("RGB", (84, 84), POISON_RGB).save(source / name)
    engine = SimulatedConfig(max_num_seqs=4, step_s=0.01, die_on_rgb=POISON_RGB)
    before = restarts()
    outcome = scan("run", source=source, dedupe=True, engine=engine, replicas=replicas)
    rows = facts(outcome)
    bad = [row for row in rows if row["error_code"]]
    assert [row["uri"] for row in bad] == names
    assert {(row["error_code"], row["verdict"], row["score"], row["format"]) for row in bad} == {
        ("poison", None, None, "PNG")
    }
    assert len({row["error_message"] for row in bad}) == 1
    others = [{**row, "row_id": 0} for row in rows if not row["error_code"]]
    assert others == [{**row, "row_id": 0} for row in plain]
    assert (outcome.scanned.errors, outcome.unreadable) == ({"poison": 6}, 0)
    assert outcome.copies == FILES - CONTENTS + 5
    assert restarts() - before <= SHARD_DEATHS + 1 + IMAGE_DEATHS, "not so many for each copy"
