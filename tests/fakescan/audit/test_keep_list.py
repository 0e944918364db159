"""Keep-lists: every image is kept or counted as left out, in each format and under each tool's ids."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fakescan.audit.image_ids import member_key, tar_member
from fakescan.audit.keep_list import Rule, write_keep_list
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.fakescan.review.conftest import ROWS, KnownRun, known_run

pytestmark = pytest.mark.unit

UNSURE = {"verdict": "uncertain", "score": 0.5, "logit": 0.0}


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Rule(keep=("real",)), lambda row: row["verdict"] == "real"),
        (Rule(drop=("fake",)), lambda row: row["verdict"] == "real"),
        (Rule(drop=("fake",), errors=True), lambda row: row["verdict"] in ("real", None)),
        (Rule(drop=("fake",), uncertain=True), lambda row: row["verdict"] in ("real", "uncertain")),
        (Rule(drop=("real",)), lambda row: row["verdict"] == "fake"),
        (Rule(keep=("uncertain",)), lambda row: row["verdict"] == "uncertain"),
        (
            Rule(drop=("fake",), min_score=0.9),
            lambda row: row["verdict"] == "real" or (row["verdict"] == "fake" and row["score"] < 0.9),
        ),
        (Rule(keep=("real",), max_score=0.1), lambda row: row["verdict"] == "real" and row["score"] <= 0.1),
    ],
)
def test_rules(tmp_path: Path, rule: Rule, kept: object) -> None:
    run = known_run(RunFolder(str(tmp_path / "run"), Store()), rows=600, changes={5: UNSURE, 6: UNSURE})
    found = write_keep_list(run.folder, str(tmp_path / "keep.parquet"), rule)
    rows = run.folder.rows(run.folder.open()).to_pylist()
    assert callable(kept)
    wanted = [row["row_id"] for row in rows if kept(row)]
    assert pq.read_table(tmp_path / "keep.parquet")["row_id"].to_pylist() == wanted
    assert sum(found.kept.values()) == len(wanted)
    assert sum(found.kept.values()) + sum(found.left_out.values()) == 600
    assert found.kept["errors"] + found.left_out["errors"] == 6


SAID = {
    5: {"provenance": "ai_generated", "provenance_basis": "iptc"},
    6: {"provenance": "ai_generated", "provenance_basis": "c2pa_trusted"},
    7: {"provenance": "captured", "provenance_basis": "c2pa_trusted"},
    8: {"provenance": "none"},
    9: {"provenance": "ai_generated", "provenance_basis": "iptc", **UNSURE},
}


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Rule(keep=("real", "fake"), provenance=("ai_generated",)), {5, 6}),
        (Rule(keep=("real", "fake"), provenance=("ai_generated/iptc", "captured/c2pa_trusted")), {5, 7}),
        (Rule(keep=("real", "fake"), provenance=("none",), errors=True), {8}),
        (Rule(keep=("real", "fake"), provenance=("ai_generated",), uncertain=True), {5, 6, 9}),
        (Rule(drop=("real", "fake", "uncertain"), provenance=("ai_generated",)), {0, 1, 2, 3, 4, 7, 8}),
    ],
)
def test_rules_about_what_files_say(tmp_path: Path, rule: Rule, kept: set[int]) -> None:
    run = known_run(RunFolder(str(tmp_path / "run"), Store()), rows=10, changes=SAID)
    failed = {row["row_id"] for row in run.folder.rows(run.folder.open()).to_pylist() if row["verdict"] is None}
    with pytest.raises(UserError, match="were not asked for it"):
        write_keep_list(run.folder, str(tmp_path / "keep.parquet"), rule)
    info = run.folder.open()
    run.folder.save(info.model_copy(update={"identity": info.identity.model_copy(update={"provenance": True})}))
    write_keep_list(run.folder, str(tmp_path / "keep.parquet"), rule)
    assert set(pq.read_table(tmp_path / "keep.parquet")["row_id"].to_pylist()) == kept - failed


def test_formats_hold_the_same(untouched: KnownRun, tmp_path: Path) -> None:
    for name in ("k.parquet", "k.csv", "k.txt"):
        write_keep_list(untouched.folder, str(tmp_path / name), Rule(keep=("real",)))
    table = pq.read_table(tmp_path / "k.parquet")
    with (tmp_path / "k.csv").open(newline="") as file:
        assert [row["uri"] for row in csv.DictReader(file)] == table["uri"].to_pylist()
    assert (tmp_path / "k.txt").read_text().splitlines() == table["uri"].to_pylist()
    assert ROWS > table.num_rows > ROWS / 2


def test_ids_of_members_of_tars(tmp_path: Path) -> None:
    run = known_run(
        RunFolder(str(tmp_path / "run"), Store()), rows=40, uri=lambda row: f"tar://00001{row:04}.jpg::s3://b/00001.tar"
    )
    write_keep_list(run.folder, str(tmp_path / "k.txt"), Rule(drop=("fake",)), ids="webdataset")
    assert (tmp_path / "k.txt").read_text().splitlines()[0] == "000010000"
    write_keep_list(run.folder, str(tmp_path / "k.parquet"), Rule(drop=("fake",)), ids="img2dataset")
    assert pq.read_table(tmp_path / "k.parquet").to_pylist()[0]["shard_id"] == "00001"
    assert tar_member("s3://b/1.jpg") is None
    assert member_key("a.b/c.tar/0001.seg.png") == "a.b/c.tar/0001"


def test_what_is_no_member_has_no_id_of_webdataset(untouched: KnownRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lies in no tar file"):
        write_keep_list(untouched.folder, str(tmp_path / "k.txt"), Rule(drop=("fake",)), ids="webdataset")
    assert list(tmp_path.iterdir()) == []


def test_a_line_break_in_a_name_is_no_line_of_a_text_file(tmp_path: Path) -> None:
    run = known_run(RunFolder(str(tmp_path / "run"), Store()), rows=20, uri=lambda row: f"s3://b/{row}\n.jpg")
    with pytest.raises(UserError, match="line break"):
        write_keep_list(run.folder, str(tmp_path / "k.txt"), Rule(drop=("fake",)))
    write_keep_list(run.folder, str(tmp_path / "k.csv"), Rule(drop=("fake",)))


def test_a_damaged_part_leaves_no_list(known: KnownRun, tmp_path: Path) -> None:
    Path(known.folder.part(3)).write_bytes(b"no Parquet")
    with pytest.raises(UserError, match=r"part-00000003\.parquet"):
        write_keep_list(known.folder, str(tmp_path / "out" / "k.parquet"), Rule(drop=("fake",)))
    assert list((tmp_path / "out").iterdir()) == []


def test_other_names_are_refused(untouched: KnownRun) -> None:
    with pytest.raises(UserError, match=r"must end with .parquet, .csv, .txt"):
        write_keep_list(untouched.folder, "keep.json", Rule(drop=("fake",)))
