"""Differences of two runs, in one piece and in many, against a join by hand."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fakescan.audit import run_join
from fakescan.audit.disagreement import draw_disagreements
from fakescan.audit.run_diff import compare
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.fakescan.review.conftest import KnownRun, known_run

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> KnownRun:
    """Images 500 to 2,499 of the other run, in another order, with other scores; every tenth has other bytes."""
    rows = list(range(2499, 499, -1))
    return known_run(
        RunFolder(str(tmp_path_factory.mktemp("other") / "run"), Store()),
        rows=len(rows),
        seed=9,
        uri=lambda row: f"s3://b/f{rows[row] % 7}/{rows[row]:06}.jpg",
        content=lambda row: f"image {rows[row]}" if rows[row] % 10 else f"another {rows[row]}",
    )


def by_uri(known: KnownRun) -> dict[str, dict[str, object]]:
    return {row["uri"]: row for row in known.folder.rows(known.folder.open()).to_pylist()}


@pytest.mark.parametrize("piece_rows", [200_000, 70])
def test_against_a_join_by_hand(
    untouched: KnownRun, other: KnownRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_rows: int
) -> None:
    monkeypatch.setattr(run_join, "PIECE_ROWS", piece_rows)
    found = compare(untouched.folder, other.folder, output=str(tmp_path / "changes.parquet"))
    before, now = by_uri(untouched), by_uri(other)
    both = before.keys() & now.keys()
    replaced = {uri for uri in both if None not in (a := {before[uri]["sha256"], now[uri]["sha256"]}) and len(a) > 1}
    turned = {uri for uri in both - replaced if before[uri]["verdict"] != now[uri]["verdict"]}
    assert (found.new, found.gone, found.same) == (0, 1000, 2000 - len(replaced))
    assert found.replaced == len(replaced)
    assert sum(found.verdicts.values()) == len(turned)
    changes = pq.read_table(tmp_path / "changes.parquet").to_pylist()
    assert {row["uri_a"] for row in changes if row["change"] == "verdict"} == turned
    assert {row["uri_b"] for row in changes if row["change"] == "content"} == replaced
    assert len(changes) == 1000 + len(replaced) + len(turned)
    assert all(row["row_id_b"] is None for row in changes if row["change"] == "gone")


def test_the_same_run_is_no_difference(untouched: KnownRun) -> None:
    found = compare(untouched.folder, untouched.folder)
    assert (found.settings, found.new, found.gone, found.replaced, found.same) == ([], 0, 0, 0, 3000)
    assert not found.verdicts
    assert found.moved == 0


def test_by_content_moved_images_are_the_same_and_copies_count_once(tmp_path: Path) -> None:
    first = known_run(RunFolder(str(tmp_path / "a"), Store()), rows=100, content=lambda row: f"{row % 50}")
    second = known_run(RunFolder(str(tmp_path / "b"), Store()), rows=100, uri=lambda row: f"s3://other/{row}.jpg",
                       content=lambda row: f"{row % 50}")  # fmt: skip
    assert compare(first.folder, second.folder).gone == 100
    found = compare(first.folder, second.folder, by="content")
    assert (found.new, found.gone, found.same) == (0, 0, 50)


def test_disagreements_are_drawn_from_all_of_each_kind(known: KnownRun, other: KnownRun) -> None:
    drawn = draw_disagreements(known.folder, other.folder, 40)
    rows, plan = drawn.sample.rows.to_pylist(), drawn.sample.plan
    assert {stratum.name for stratum in plan.strata} == {"fake here, there real", "real here, there fake"}
    theirs = {row["sha256"]: row["verdict"] for row in by_uri(other).values()}
    assert all(row["verdict"] != theirs[row["sha256"]] for row in rows)
    assert sum(1 / row["inclusion_probability"] for row in rows) == pytest.approx(sum(one.rows for one in plan.strata))
    assert draw_disagreements(known.folder, other.folder, 40).added == 0


def test_runs_that_agree_have_nothing_to_draw(known: KnownRun) -> None:
    with pytest.raises(UserError, match="no image of both runs has another verdict"):
        draw_disagreements(known.folder, known.folder, 10)
