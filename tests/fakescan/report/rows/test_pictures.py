"""Pictures in a report: every number of them is what DuckDB counts from the hashes in the parts of the run."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from fakescan.audit.pictures import find_pictures
from fakescan.report.audit_facts import AuditFacts
from fakescan.report.build import ReportSettings, build_report
from fakescan.report.rows import pictures as module
from fakescan.report.rows.order import thumbs_chosen
from fakescan.review.audit_result import audit_result
from fakescan.review.labels import Label, Labels
from fakescan.review.pictures.picture_file import first_images
from fakescan.review.sample import draw_sample
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.fakescan.report.conftest import MadeReport, MadeRun

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def query(made_report: MadeReport) -> duckdb.DuckDBPyConnection:
    """`parts`, and `pictures` of those of their rows that have a verdict: by comparing each hash with each."""
    connection = duckdb.connect()
    connection.execute(
        f"CREATE TABLE parts AS SELECT * FROM read_parquet('{made_report.run.folder.path}/parts/*.parquet');"
        "CREATE TABLE judged AS SELECT *, unhex(phash)::BIT AS bits FROM parts WHERE verdict IS NOT NULL;"
        "CREATE TABLE pictures AS SELECT a.row_id, a.verdict, a.score, min(b.row_id) AS picture "
        "FROM judged a JOIN judged b ON CASE WHEN a.bits IS NULL THEN b.bits IS NULL AND a.sha256 = b.sha256 "
        "ELSE bit_count(xor(a.bits, b.bits)) <= 24 END GROUP BY ALL"
    )
    return connection


def all_of(query: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return query.execute(sql).fetchall()


def test_the_counts(made_report: MadeReport, query: duckdb.DuckDBPyConnection) -> None:
    pictures = made_report.file.pictures
    assert pictures is not None
    counted = all_of(query, "SELECT verdict, count(*), count(DISTINCT picture) FROM pictures GROUP BY 1")
    assert {name: images for name, images, _ in counted} == pictures.images
    assert {name: number for name, _, number in counted} == pictures.pictures
    assert all_of(query, "SELECT count(DISTINCT picture) FROM pictures") == [(pictures.total,)]
    mixed = "SELECT count(*) FROM (FROM pictures SELECT picture GROUP BY 1 HAVING count(DISTINCT verdict) > 1)"
    assert all_of(query, mixed) == [(pictures.mixed,)]
    assert all_of(query, "SELECT count(*) FROM judged WHERE phash IS NULL") == [(pictures.blank,)]
    assert min(pictures.mixed, pictures.blank, pictures.total) > 0
    assert pictures.total < sum(pictures.images.values())
    for large in pictures.largest:
        verdicts = dict(
            all_of(query, f"SELECT verdict, count(*) FROM pictures WHERE picture = {large.picture} GROUP BY 1")
        )
        assert (large.real, large.fake, large.uncertain) == tuple(
            verdicts.get(name, 0) for name in ("real", "fake", "uncertain")
        )
        best = all_of(query, f"FROM pictures SELECT row_id WHERE picture = {large.picture} ORDER BY score DESC, row_id")
        assert best[0] == (large.row_id,)
        assert all_of(query, f"SELECT uri FROM parts WHERE row_id = {large.row_id}") == [(large.uri,)]
    sizes = [large.rows for large in pictures.largest]
    most = all_of(query, "SELECT count(*) FROM pictures GROUP BY picture ORDER BY 1 DESC LIMIT 10")
    assert sizes == [size for (size,) in most]


def test_rows_and_facets_have_them(made_report: MadeReport, query: duckdb.DuckDBPyConnection) -> None:
    report = made_report.file
    place = f"{made_report.path}/{report.data}"
    ours = duckdb.sql(
        f"SELECT row_id, picture, images FROM '{place}rows-*.parquet' WHERE picture IS NOT NULL ORDER BY 1"
    ).fetchall()
    theirs = "SELECT row_id, picture, count(*) OVER (PARTITION BY picture) FROM pictures ORDER BY 1"
    assert ours == all_of(query, theirs)
    rows = duckdb.sql(
        f"SELECT picture FROM read_parquet({[f'{place}{file.name}' for file in report.rows.files]})"
    ).fetchall()
    back = duckdb.sql(
        f"SELECT back FROM read_parquet({[f'{place}{file.name}' for file in report.facets.files]})"
    ).fetchall()
    first: dict[int, int] = {}
    wanted = [position if one is None else first.setdefault(one, position) for position, (one,) in enumerate(rows)]
    assert [position - steps for position, (steps,) in enumerate(back)] == wanted


def test_the_overview_says_so(made_report: MadeReport) -> None:
    page = (made_report.path / "report.html").read_text()
    pictures, totals = made_report.file.pictures, made_report.file.totals
    assert pictures is not None
    assert f"The {totals.fake:,} images called fake are <strong>{pictures.pictures['fake']:,} pictures</strong>" in page
    assert f"the {totals.judged:,} images with a verdict are {pictures.total:,}" in page


def test_prevalence_by_picture_is_what_the_command_says(made_run: MadeRun, tmp_path: Path) -> None:
    shutil.copytree(made_run.folder.path, tmp_path / "run")
    folder = RunFolder(str(tmp_path / "run"), Store())
    keys = draw_sample(folder, "estimate", 400).sample.rows["sha256"].to_pylist()
    labels = Labels()
    for key in keys:
        labels.add(Label(sha256=key, label="fake" if key[0] in "01" else "real", reviewer="ann"))
    target = RunFolder(str(tmp_path / "report"), Store())
    report = build_report(folder, target, ReportSettings(thumbs=0), AuditFacts(folder, labels))
    place, run = str(tmp_path / "pictures.parquet"), folder.open()
    find_pictures(folder, place)
    told = audit_result(
        folder, labels, firsts=lambda judged: first_images(place, Store(), run, judged=judged)
    ).by_picture
    found = report.prevalence.by_picture
    assert found is not None
    assert told is not None
    assert told.share is not None
    assert found.share is not None
    assert (found.pictures, found.drawn, found.reviewed, found.fakes) == (
        told.pictures, told.drawn, told.reviewed, told.fakes,
    )  # fmt: skip
    assert (found.share.low, found.share.high) == (told.share.low, told.share.high)
    assert report.pictures is not None
    assert found.pictures == report.pictures.total
    assert found.statement in (tmp_path / "report" / "report.html").read_text()


def test_a_call_after_an_interruption_reads_them(
    made_run: MadeRun, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = RunFolder(str(tmp_path / "report"), Store())

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fakescan.report.build.WriteRows.__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            build_report(made_run.folder, target, ReportSettings(thumbs=0))
    assert len(list((tmp_path / "report" / "work").rglob("pictures.arrow"))) == 1
    monkeypatch.setattr(module.RowHashes, "take", killed)  # nothing is hashed a second time
    report = build_report(made_run.folder, target, ReportSettings(thumbs=0))
    assert report.pictures is not None
    assert report.pictures.total > 0


def test_more_rows_than_are_searched(made_run: MadeRun, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 100)
    report = build_report(made_run.folder, RunFolder(str(tmp_path / "report"), Store()), ReportSettings(thumbs=0))
    assert report.pictures is None
    assert report.no_pictures == "A report looks for near-duplicates among at most 100 images."
    back = duckdb.sql(f"SELECT DISTINCT back FROM '{tmp_path}/report/{report.data}facets-*.parquet'").fetchall()
    assert back == [(0,)]
    assert report.no_pictures in (tmp_path / "report" / "report.html").read_text()


def test_thumbnails_go_to_pictures_that_have_none_first() -> None:
    verdicts = np.array([1] * 60 + [0] * 40, np.uint8)
    leading = np.arange(100) % 10 == 0
    chosen = thumbs_chosen(verdicts, 10, leading)
    assert set(chosen.tolist()) >= {0, 10, 20, 30, 40, 50}
    assert len(chosen) == 10
    assert set(thumbs_chosen(verdicts, 100, leading).tolist()) == set(range(100))
    assert thumbs_chosen(verdicts, 0, leading).tolist() == []
