"""Reports: of unfinished runs, after interruptions, with images that are gone, and of hostile names."""

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.report import build
from fakescan.report.audit_facts import AuditFacts
from fakescan.report.build import ReportSettings, build_report, read_report
from fakescan.report.images.thumbnails import WriteThumbs
from fakescan.report.rows import count_rows, schema
from fakescan.report.rows.rows_files import WriteRows
from fakescan.report.rows.sorted_batch import SortParts
from fakescan.review.labels import Label, Labels
from fakescan.review.prevalence import prevalence_of
from fakescan.review.sample import draw_sample
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes, part_name
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from fakevlm.reading import NO_FORGERY_FOUND, Meaning
from tests.conftest import Bucket
from tests.fakescan.report.conftest import HOSTILE, MadeReport, MadeRun, make_report_run

pytestmark = pytest.mark.unit


def target_at(path: Path) -> RunFolder:
    return RunFolder(str(path / "report"), Store())


def thumb_files(target: RunFolder) -> set[str]:
    return {path.name for path in Path(target.path).rglob("thumbs-*")}


def files_of(target: RunFolder) -> dict[str, bytes]:
    root = Path(target.path)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def thumbs_of(report: MadeReport) -> list[dict[str, Any]]:
    files = [f"{report.path}/{report.file.data}{file.name}" for file in report.file.thumbs.files]
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_thumbnails_are_of_the_images_that_were_judged(made_report: MadeReport) -> None:
    thumbs = thumbs_of(made_report)
    assert [thumb["thumb"] for thumb in thumbs] == list(range(150))
    positions = [thumb["position"] for thumb in thumbs]
    assert positions == sorted(positions)
    for thumb in thumbs:
        data = thumb["image"]["bytes"]
        if thumb["row_id"] % 13 == 12:
            assert (data, thumb["error_code"]) == (None, "not_found")
            assert thumb["error_message"] == "the image is not there any more"
        elif thumb["row_id"] % 17 == 16:
            assert (data, thumb["error_code"]) == (None, "changed")
            assert thumb["error_message"] == "the image was changed since it was judged"
        else:
            assert data.startswith(b"\xff\xd8\xff")
            assert (thumb["error_code"], thumb["height"]) == (None, 30)
    assert made_report.file.thumbs.missing == sum(thumb["image"]["bytes"] is None for thumb in thumbs) > 5
    assert sum(thumb["verdict"] in ("fake", "uncertain") for thumb in thumbs) == 120
    rows = [f"{made_report.path}/{made_report.file.data}{file.name}" for file in made_report.file.rows.files]
    there = duckdb.sql(f"SELECT row_id, thumb FROM read_parquet({rows}) WHERE thumb IS NOT NULL ORDER BY thumb")
    assert there.fetchall() == [(thumb["row_id"], thumb["thumb"]) for thumb in thumbs]


def test_files_are_made_to_be_read_in_pieces(made_report: MadeReport) -> None:
    report = made_report.file
    for files in (report.rows, report.facets, report.thumbs):
        first = 0
        for file in files.files:
            path = made_report.path / report.data / file.name
            footer = pq.ParquetFile(path).metadata
            assert (path.stat().st_size, footer.num_rows, first) == (file.bytes, file.rows, file.first)
            assert int.from_bytes(path.read_bytes()[-8:-4], "little") + 8 == file.footer_bytes
            assert footer.row_group(0).num_rows == min(files.row_group_rows, file.rows)
            assert footer.row_group(0).column(0).has_offset_index
            assert {footer.row_group(0).column(n).compression for n in range(footer.num_columns)} <= {
                "SNAPPY", "UNCOMPRESSED",
            }  # fmt: skip
            first += file.rows
        assert first == files.count


def test_a_call_after_an_interruption_makes_the_same(
    made_run: MadeRun, tmp_path: Path, small_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ReportSettings(thumbs=150)
    whole = target_at(tmp_path / "whole")
    build_report(made_run.folder, whole, settings)
    target = target_at(tmp_path / "again")
    calls: list[str] = []
    for kind, limit in ((SortParts, 2), (WriteRows, 1), (WriteThumbs, 1)):
        original = kind.__call__
        done: list[int] = []

        def stop(self: Any, work: Any, original: Any = original, limit: int = limit, done: list[int] = done) -> Any:
            if len(done) == limit:
                raise KeyboardInterrupt
            done.append(1)
            return original(self, work)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "__call__", stop)
            with pytest.raises(KeyboardInterrupt):
                build_report(made_run.folder, target, settings)
        assert read_report(target) is None
    for kind in (SortParts, WriteRows, WriteThumbs):
        original = kind.__call__

        def count(self: Any, work: Any, original: Any = original, name: str = kind.__name__) -> Any:
            before = thumb_files(target)
            result = original(self, work)
            if name != "WriteThumbs" or thumb_files(target) != before:
                calls.append(name)
            return result

        monkeypatch.setattr(kind, "__call__", count)
    build_report(made_run.folder, target, settings)
    assert calls == ["WriteThumbs"] * 2
    ours, theirs = files_of(target), files_of(whole)
    assert ours.keys() == theirs.keys()
    assert not any(name.startswith("work/") for name in ours)
    different = {name for name in ours if ours[name] != theirs[name]}
    assert different <= {"report.json", "report.html"}  # when it was made


def test_what_is_there_is_not_made_again(made_run: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_at(tmp_path)
    first = build_report(made_run.folder, target, ReportSettings(thumbs=10))
    monkeypatch.setattr(build, "SortParts", None)
    monkeypatch.setattr(build, "WriteRows", None)
    second = build_report(made_run.folder, target, ReportSettings(thumbs=10))
    assert second.model_copy(update={"created_at": first.created_at}) == first


def test_parts_that_are_written_again_make_the_rows_anew(tmp_path: Path) -> None:
    made = make_report_run(tmp_path, rows=64)
    target = target_at(tmp_path)
    before = build_report(made.folder, target, ReportSettings(thumbs=0))
    part = Path(made.folder.path, "parts", part_name(1))
    data = part.read_bytes()
    part.unlink()
    unfinished = build_report(made.folder, target, ReportSettings(thumbs=0))
    assert (unfinished.run.is_finished, unfinished.totals.rows, unfinished.run.done) == (False, 48, 48)
    assert "The scan is not finished: 48 of 64 images" in Path(target.path, "report.html").read_text()
    part.write_bytes(data[:-60] + bytes(60))
    damaged = build_report(made.folder, target, ReportSettings(thumbs=0))
    assert [(one.name, one.rows) for one in damaged.run.unreadable] == [("parts/part-00000001.parquet", 16)]
    assert (damaged.totals.rows, damaged.run.done) == (48, 64)
    assert "1 part of the run cannot be read: 16 images" in Path(target.path, "report.html").read_text()
    part.write_bytes(data)
    after = build_report(made.folder, target, ReportSettings(thumbs=0))
    assert (after.totals, after.scores) == (before.totals, before.scores)
    assert len(list(Path(target.path, "data").iterdir())) == 1


def test_a_run_without_a_part_has_no_report(tmp_path: Path) -> None:
    made = make_report_run(tmp_path, rows=20)
    for part in Path(made.folder.path, "parts").iterdir():
        part.unlink()
    with pytest.raises(UserError, match="has no part yet"):
        build_report(made.folder, target_at(tmp_path), ReportSettings())


def test_only_errors(tmp_path: Path) -> None:
    made = make_report_run(tmp_path, rows=23)
    run = made.folder.open()
    table = made.folder.whole_part(1).slice(6, 1)  # row 22
    small = run.model_copy(update={"rows": 1, "shard_rows": 16})
    row = table.set_column(0, table.schema.field(0), pa.array([0], pa.int64()))
    for part in Path(made.folder.path, "parts").iterdir():
        part.unlink()
    made.folder.save(small)
    made.folder.write_part(0, part_bytes(row, small.sharding, 0, row.schema))
    report = build_report(made.folder, target_at(tmp_path), ReportSettings())
    assert (report.totals.rows, report.totals.errors, report.scores.scored) == (1, 1, 0)
    assert report.prevalence.statement == "No image has a verdict."
    assert report.thumbs.count == 0
    assert "1 images have no verdict" in Path(target_at(tmp_path).path, "report.html").read_text()


def test_names_and_words_are_text(made_report: MadeReport) -> None:
    page = (made_report.path / "report.html").read_text()
    assert len(page) < 10_000_000
    assert "<script" not in page.lower()
    assert not re.search(r"<[^>]+\son\w+\s*=", page)
    assert page.count('<img src="data:image/jpeg;base64,') == page.count("<img")
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;document.title" in page
    assert "https://" not in page
    assert "http://" not in page
    assert page.index("Content-Security-Policy") < page.index("<style")
    names = {uri for thumb in thumbs_of(made_report) for uri in [thumb["uri"]]}
    assert any(name in uri for name in HOSTILE for uri in names)


def test_a_model_that_knows_no_generator_is_not_believed(tmp_path: Path) -> None:
    made = make_report_run(tmp_path, rows=64, meaning=Meaning.FORGERIES)
    report = build_report(made.folder, target_at(tmp_path), ReportSettings(thumbs=4))
    page = Path(target_at(tmp_path).path, "report.html").read_text()
    assert report.run.cautions == [NO_FORGERY_FOUND]
    assert report.run.names["real"] == "no forgery found"
    assert NO_FORGERY_FOUND in page
    assert "called real" not in page


def test_a_sample_and_its_labels_tell_the_prevalence(tmp_path: Path) -> None:
    made = make_report_run(tmp_path)
    target = target_at(tmp_path)
    unknown = build_report(made.folder, target, ReportSettings(thumbs=0))
    assert unknown.prevalence.basis == "none"
    assert unknown.prevalence.statement.startswith("It is not known how many of 670 images are fake")
    assert f"fakescan review sample {made.folder.url} -n 500" in unknown.prevalence.notes[-1]
    sample = draw_sample(made.folder, "estimate", 100).sample
    labels = Labels()
    rows = sample.rows.to_pylist()
    for row in rows[:5]:
        labels.add(Label(sha256=row["sha256"], label="real", reviewer="ann"))
    labelled = sum(row["sha256"] in labels.of_image for row in rows)  # one image may be drawn at two places
    few = build_report(made.folder, target, ReportSettings(thumbs=0), AuditFacts(made.folder, labels))
    assert few.prevalence.basis == "none"
    assert any(f"No number yet: labels: {labelled} of" in note for note in few.prevalence.notes), few.prevalence.notes
    for row in rows:
        labels.add(Label(sha256=row["sha256"], label="fake" if row["score"] > 0.8 else "real", reviewer="ann"))
    told = build_report(made.folder, target, ReportSettings(thumbs=0), AuditFacts(made.folder, labels))
    assert told.data == unknown.data
    assert told.prevalence.basis == "labels"
    share, expected = told.prevalence.share, prevalence_of(sample, labels).share
    assert share is not None
    assert (share.value, share.low, share.high) == (expected.value, expected.low, expected.high)
    assert "of 670 images are fake (95 %" in told.prevalence.statement
    listed = json.loads(Path(target.path, told.samples[0].name).read_text())
    assert [item["row_id"] for item in listed["items"]] == [row["row_id"] for row in rows]
    positions = {item["row_id"]: item["position"] for item in listed["items"]}
    files = f"{target.path}/{told.data}rows-*.parquet"
    order = [row for (row,) in duckdb.sql(f"SELECT row_id FROM '{files}'").fetchall()]
    assert all(order[position] == row_id for row_id, position in positions.items())
    assert "verdict" not in listed["items"][0]
    saved = json.loads(Path(target.path, "labels.json").read_text())
    assert len(saved) == told.labels.count if told.labels else False


def test_commands_in_a_report_are_of_this_run_in_any_shell(tmp_path: Path) -> None:
    made = make_report_run(tmp_path / "audit; it's $(May)")
    target = target_at(tmp_path)
    build_report(made.folder, target, ReportSettings(thumbs=0))
    page = Path(target.path, "report.html").read_text(encoding="utf-8")
    commands = [shlex.split(html.unescape(text)) for text in re.findall(r"<code>(fakescan .*?)</code>", page)]
    assert len(commands) >= 3
    assert all(made.folder.url in command for command in commands), commands


def test_on_a_bucket(made_run: MadeRun, s3_bucket: Bucket, tmp_path: Path, small_files: None) -> None:
    store = s3_bucket.store
    url = s3_bucket.upload(Path(made_run.folder.path), "audit")
    folder = RunFolder(url, store)
    target = RunFolder(f"{url}/report", store)
    report = build_report(folder, target, ReportSettings(thumbs=20))
    assert read_report(target) == report
    names = target.fs.find(target.path)
    assert not any("/work/" in name for name in names)
    assert sum("/rows-" in name for name in names) == 3
    assert report.totals.rows == 700
    types = {name: target.fs.info(f"{target.path}/{name}")["ContentType"] for name in ("report.html", "report.json")}
    assert types == {"report.html": "text/html; charset=utf-8", "report.json": "application/json"}
    build_report(folder, target, ReportSettings(thumbs=0))
    assert len({name.split("/data/")[1].split("/")[0] for name in target.fs.find(f"{target.path}/data")}) == 1


def test_long_rows_get_smaller_files(made_run: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_report(made_run.folder, target_at(tmp_path / "a"), ReportSettings(thumbs=0))
    assert len(whole.rows.files) == 1
    monkeypatch.setattr(schema, "ROWS_PER_FILE", 1024)
    monkeypatch.setattr(schema, "ROWS_PER_GROUP", 64)
    monkeypatch.setattr(count_rows, "MAX_FILE_BYTES", 100_000)
    report = build_report(made_run.folder, target_at(tmp_path / "b"), ReportSettings(thumbs=0))
    assert len(report.rows.files) > 2
    assert sum(file.rows for file in report.rows.files) == 700
    files = [f"{target_at(tmp_path / name).path}/{report.data}rows-*.parquet" for name in "ab"]
    assert (
        duckdb.sql(f"SELECT row_id FROM '{files[0]}'").fetchall()
        == duckdb.sql(f"SELECT row_id FROM '{files[1]}'").fetchall()
    )
    assert report.facets.files[0].rows == 700
