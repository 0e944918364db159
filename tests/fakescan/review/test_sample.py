"""Samples: known chances, the same images by the same seed, larger ones that hold the smaller."""

from pathlib import Path

import numpy as np
import pytest

from fakescan.review.plan import COVERING, Design
from fakescan.review.sample import draw_sample
from fakescan.review.sample_file import read_sample
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.fakescan.review.conftest import ROWS, KnownRun, known_run

pytestmark = pytest.mark.unit

JUDGED = ROWS - ROWS // 100


def hashes(known: KnownRun, design: Design = "estimate") -> list[str]:
    sample = read_sample(known.folder, design)
    assert sample is not None
    return sample.rows["sha256"].to_pylist()


@pytest.mark.parametrize("design", COVERING)
def test_every_image_has_a_known_chance(known: KnownRun, design: Design) -> None:
    drawn = draw_sample(known.folder, design, 300)
    plan, rows = drawn.sample.plan, drawn.sample.rows
    assert sum(stratum.rows for stratum in plan.strata) == plan.rows == JUDGED
    assert plan.errors == ROWS // 100
    assert rows.num_rows == drawn.added == 300
    assert len(set(rows["row_id"].to_pylist())) == 300
    # Weights of all drawn images add up to the population.
    assert sum(1 / chance for chance in rows["inclusion_probability"].to_pylist()) == pytest.approx(JUDGED)
    for row in rows.to_pylist():
        stratum = plan.strata[row["stratum"]]
        assert stratum.verdict == row["verdict"]
        assert stratum.low is None or stratum.low <= row["logit"]
        assert stratum.high is None or row["logit"] < stratum.high


def test_the_same_seed_draws_the_same_images_and_another_one_others(known: KnownRun) -> None:
    first = draw_sample(known.folder, "estimate", 200, write=False).sample
    again = draw_sample(known.folder, "estimate", 200, write=False).sample
    other = draw_sample(known.folder, "estimate", 200, seed=7, write=False).sample
    assert first.rows.equals(again.rows)
    assert len(set(first.rows["row_id"].to_pylist()) & set(other.rows["row_id"].to_pylist())) < 100
    assert read_sample(known.folder, "estimate") is None


def test_a_larger_number_goes_on(known: KnownRun) -> None:
    draw_sample(known.folder, "estimate", 150)
    before = hashes(known)
    drawn = draw_sample(known.folder, "estimate", 400)
    assert (drawn.continued, drawn.added, drawn.removed) == (True, 250, 0)
    assert hashes(known)[:150] == before
    again = draw_sample(known.folder, "estimate", 400)
    assert again.added == 0


def test_more_images_than_there_are_is_all_of_them(known: KnownRun) -> None:
    drawn = draw_sample(known.folder, "estimate", 5000)
    assert drawn.sample.rows.num_rows == JUDGED
    assert {stratum.probability for stratum in drawn.sample.plan.strata} == {1.0}


def test_whoever_stops_early_has_seen_some_of_each_stratum(known: KnownRun) -> None:
    sample = draw_sample(known.folder, "estimate", 300).sample
    counts = np.bincount(sample.rows["stratum"].to_numpy()[:120], minlength=len(sample.plan.strata))
    assert counts.min() >= 5


def test_images_are_drawn_with_equal_chances_in_a_stratum(known: KnownRun) -> None:
    """Over many seeds, neither the front nor the end of the run is preferred."""
    means = [
        np.mean(draw_sample(known.folder, "estimate", 100, seed=seed, write=False).sample.rows["row_id"].to_numpy())
        for seed in range(1, 13)
    ]
    assert abs(np.mean(means) - ROWS / 2) < 3 * ROWS / np.sqrt(12 * 100 * 12)


def test_a_rescan_draws_many_of_the_same_images(known: KnownRun, tmp_path: Path) -> None:
    first = set(draw_sample(known.folder, "estimate", 300).sample.rows["sha256"].to_pylist())
    other = known_run(RunFolder(str(tmp_path / "rescan"), Store()), seed=1)
    second = set(draw_sample(other.folder, "estimate", 300).sample.rows["sha256"].to_pylist())
    assert len(first & second) > 120


def test_discover_takes_turns_between_folders(known: KnownRun) -> None:
    rows = draw_sample(known.folder, "discover", 14).sample.rows
    folders = [uri.split("/")[3] for uri in rows["uri"].to_pylist()]
    assert set(folders[:7]) == set(folders[7:]) == {f"f{number}" for number in range(7)}
    assert rows["inclusion_probability"].null_count == 14
    assert min(rows["score"].to_pylist()) > 0.9


def test_discover_shows_a_content_once(tmp_path: Path) -> None:
    run = known_run(RunFolder(str(tmp_path / "run"), Store()), rows=300, content=lambda row: f"{row % 20}")
    rows = draw_sample(run.folder, "discover", 50).sample.rows
    assert len(set(rows["sha256"].to_pylist())) == rows.num_rows == 20


def test_discover_shows_a_picture_once_whatever_its_folders(tmp_path: Path) -> None:
    def phash(row: int) -> str | None:
        value = int.from_bytes(np.random.default_rng(row % 30).bytes(32), "big")
        return None if row == 77 else f"{value ^ ((1 << row // 30) - 1):064x}"

    changes = {row: {"phash": phash(row)} for row in range(300)}
    run = known_run(RunFolder(str(tmp_path / "run"), Store()), rows=300, changes=changes)
    rows = draw_sample(run.folder, "discover", 50).sample.rows["row_id"].to_pylist()
    assert len({row % 30 for row in rows if row != 77}) == len(rows) - 1 == 30
    few = draw_sample(run.folder, "discover", 60, write=False).sample.rows["row_id"].to_pylist()
    assert few == rows


def test_qa_repeats_labelled_images(known: KnownRun) -> None:
    from fakescan.review.labels import read_labels

    draw_sample(known.folder, "estimate", 100)
    labels = read_labels([known.write_labels("ann", hashes(known)[:60])], Store())
    rows = draw_sample(known.folder, "qa", 10, labels=labels).sample.rows
    assert set(rows["sha256"].to_pylist()) <= set(hashes(known)[:60])
    assert set(rows["inclusion_probability"].to_pylist()) == {10 / 60}


@pytest.mark.parametrize(
    ("n", "seed", "words"),
    [(0, None, "not from 1"), (10**6, None, "not from 1"), (50, None, "100 images already"), (200, 3, "seed")],
)
def test_what_cannot_be_drawn(known: KnownRun, n: int, seed: int | None, words: str) -> None:
    draw_sample(known.folder, "estimate", 100)
    with pytest.raises(UserError, match=words):
        draw_sample(known.folder, "estimate", n, seed=seed)


def test_a_damaged_file_is_named(known: KnownRun) -> None:
    draw_sample(known.folder, "estimate", 100)
    path = Path(known.folder.path, "review", "estimate.parquet")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"review/estimate.parquet of .* is damaged"):
        draw_sample(known.folder, "estimate", 200)
