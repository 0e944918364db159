"""Prevalence by picture: the first image of each counts, and the numbers are those of a query."""

from pathlib import Path

import duckdb
import numpy as np
import pytest

from fakescan.audit.pictures import find_pictures
from fakescan.review.audit_result import audit_result, picture_statement
from fakescan.review.labels import read_labels
from fakescan.review.pictures.picture_file import first_images
from fakescan.review.sample import draw_sample
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from fakevlm.metrics.prevalence import fakes_in_strata
from tests.fakescan.review.conftest import KnownRun, known_run

pytestmark = pytest.mark.unit

ROWS = 2000
STORE = Store()


def phash(row: int) -> str:
    """Of every five rows in the upper half three are one picture."""
    first = row - row % 5 if row >= ROWS // 2 and row % 5 < 3 else row
    value = int.from_bytes(np.random.default_rng(first).bytes(32), "big")
    return f"{value ^ ((1 << row % 5) - 1):064x}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> KnownRun:
    folder = RunFolder(str(tmp_path_factory.mktemp("counted") / "run"), STORE)
    made = known_run(folder, rows=ROWS, fakes=0.1, changes={row: {"phash": phash(row)} for row in range(ROWS)})
    sample = draw_sample(folder, "estimate", 500).sample
    made.write_labels("ann", sample.rows["sha256"].to_pylist())
    find_pictures(folder, f"{folder.path}/pictures.parquet")
    return made


def test_the_numbers_are_those_of_a_query(run: KnownRun) -> None:
    folder = run.folder
    place = f"{folder.path}/pictures.parquet"
    labels = read_labels([f"{folder.path}/labels"], STORE)
    found = audit_result(
        folder, labels, firsts=lambda judged: first_images(place, STORE, folder.open(), judged=judged)
    ).by_picture
    assert found is not None
    sample = f"'{folder.path}/review/estimate.parquet'"
    counted = duckdb.sql(
        f"SELECT count(*), count(*) FILTER (p.row_id IN (SELECT row_id FROM {sample})) FROM '{place}' p "
        "WHERE row_id = picture"
    ).fetchall()
    assert counted == [(found.pictures, found.drawn)]
    drawn = duckdb.sql(
        f"SELECT s.stratum, s.sha256 FROM {sample} s JOIN '{place}' p ON s.row_id = p.picture AND p.row_id = p.picture"
    ).fetchall()
    hits = sum(run.truth[sha256] for _, sha256 in drawn)
    assert (found.reviewed, found.fakes) == (found.drawn, hits)
    assert 0 < found.drawn < 500
    plan = draw_sample(folder, "estimate", 500, write=False).sample.plan
    ends = ["-1e9" if one.low is None else str(one.low) for one in plan.strata]
    tops = ["1e9" if one.high is None else str(one.high) for one in plan.strata]
    rows = [
        duckdb.sql(
            f"SELECT count(*) FROM '{place}' WHERE row_id = picture AND verdict = '{one.verdict}' "
            f"AND logit >= {low} AND logit < {high}"
        ).fetchall()[0][0]
        for one, low, high in zip(plan.strata, ends, tops, strict=True)
    ]
    reviewed = [sum(stratum == number for stratum, _ in drawn) for number in range(len(rows))]
    fakes = [sum(stratum == number and run.truth[key] for stratum, key in drawn) for number in range(len(rows))]
    assert found.share == fakes_in_strata(rows, reviewed, fakes) / sum(rows)
    assert f"of {found.pictures:,} pictures are fake (95 % or more, {found.reviewed:,} reviewed" in picture_statement(
        found
    )


def test_too_few_labels_are_said(run: KnownRun, tmp_path: Path) -> None:
    folder = run.folder
    keys = draw_sample(folder, "estimate", 500, write=False).sample.rows["sha256"].to_pylist()
    few = KnownRun(RunFolder(str(tmp_path), STORE), run.truth).write_labels("bob", keys[:22])
    place = f"{folder.path}/pictures.parquet"
    found = audit_result(
        folder,
        read_labels([few], STORE),
        firsts=lambda judged: first_images(place, STORE, folder.open(), judged=judged),
    ).by_picture
    assert found is not None
    assert found.share is None
    assert picture_statement(found).startswith("by picture: not known; only ")


def test_a_file_of_another_run_or_another_kind_is_refused(run: KnownRun, tmp_path: Path) -> None:
    folder, place = run.folder, f"{run.folder.path}/pictures.parquet"
    info = folder.open()
    with pytest.raises(UserError, match=r"pictures: .* holds 1,980 images, and 5 of the run have a verdict now"):
        list(first_images(place, STORE, info, judged=5))
    with pytest.raises(UserError, match=r"pictures: .* is of the run .*, and this one is other"):
        list(first_images(place, STORE, info.model_copy(update={"run_id": "other"}), judged=1980))
    with pytest.raises(UserError, match="was not written by this version of `fakescan duplicates -o`"):
        list(first_images(f"{folder.path}/review/estimate.parquet", STORE, info, judged=1980))
    (tmp_path / "p.parquet").write_bytes(b"no parquet at all, none")
    with pytest.raises(UserError, match="is no Parquet file"):
        list(first_images(str(tmp_path / "p.parquet"), STORE, info, judged=1980))
    with pytest.raises(UserError, match=r"pictures|gone\.parquet"):
        list(first_images(str(tmp_path / "gone.parquet"), STORE, info, judged=1980))
