"""Driver: a scan from the command to its results, through Ray; how it is resumed, retried, refused and cut short."""

import json
import logging
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fakescan.cli.main import main
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.schema import PROVENANCE_FIELDS
from fakescan.storage.store import Store
from tests.drill_images import POISON_RGB
from tests.scan_process import ScanProcess, read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]

PROVENANCE = [field.name for field in PROVENANCE_FIELDS]

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Ended:
    """How a command ended that ran in this process, on the session's cluster."""

    status: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def fakescan(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Iterator[Command]:
    """Runs the command line in this process, which saves the start of another; with the fake engine unless told."""
    before = signal.getsignal(signal.SIGTERM)
    # Ray's log handlers keep the stream of the test in which it was started.
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def run(*arguments: object, status: int = 0) -> Ended:
        words = [str(argument) for argument in arguments]
        if words[0] == "scan":
            words += ["--model", str(tiny_model)] if "--model" not in words else []
            words += ["--engine", "fake"] if not {"--engine", "--config"} & set(words) else []
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit:
            main(words)
        ended = Ended(int(exit.value.code or 0), *capfd.readouterr())
        assert ended.status == status, f"{ended.out}\n{ended.err}"
        assert "Traceback" not in ended.err
        return ended

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Where the test's scan writes to."""
    return RunFolder(str(tmp_path / "run"), Store())


@pytest.fixture
def images(pictures: Path, tmp_path: Path) -> Path:
    """Thirty images that the test may change."""
    return Path(shutil.copytree(pictures, tmp_path / "images"))


@pytest.fixture
def scanned(first_scan: Path, run: RunFolder) -> RunFolder:
    """It, copied to where the test's scan writes to: the same as if the test had made it."""
    shutil.copytree(first_scan, run.path)
    return run


def error_line(ended: Ended) -> str:
    """The one line that says what is wrong."""
    (line,) = [line for line in ended.err.splitlines() if line.startswith("fakescan: error: ")]
    return line


def error_codes(ended: Ended) -> list[list[str]]:
    """The codes in the summary, and their rows."""
    return [line.split()[:2] for line in ended.out.splitlines() if re.match(r"  \S", line)]


def config(folder: Path, **settings: Any) -> Path:
    path = folder / "scan.yaml"
    path.write_text(json.dumps(settings))
    return path


def test_a_scan_from_the_command_to_its_results(fakescan: Command, images: Path, run: RunFolder) -> None:
    ended = fakescan("scan", images, "-o", run.url, "--shard-rows", 8)
    rows = read_rows(run)
    assert len(rows) == 30
    assert [row["uri"] for row in rows] == sorted(str(path) for path in images.iterdir())
    assert {row["error_code"] for row in rows} == {None}
    file = run.open()
    assert {row["model"] for row in rows} == {file.model} == {"fake-engine"}
    assert {row["run_id"] for row in rows} == {file.run_id}
    for row in rows:
        assert row["verdict"] == ("fake" if row["score"] >= 0.5 else "real")
        assert (row["explanation"] is not None) == (row["verdict"] == "fake")
        assert row["off_script"] == pytest.approx(0.0, abs=1e-6)
    assert run.part_names() == [f"part-{shard:08}.parquet" for shard in range(4)]
    fakes = sum(row["verdict"] == "fake" for row in rows)
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"results: {run.url}/parts/*.parquet")
    assert lines[1] == f"rows: 30 of 30   real {30 - fakes}   fake {fakes}   uncertain 0   errors 0"
    assert "warning: the engine is simulated: these verdicts mean nothing" in lines
    progress = [line for line in ended.err.splitlines() if "/30 " in line]
    assert progress[0].startswith("0/30  waiting for the engine's process")
    assert progress[-1].startswith("30/30")
    assert not run.fs.exists(f"{run.path}/lease.json")
    assert sorted(path.name for path in Path(run.path).iterdir()) == ["cache", "manifest", "parts", "run.json"]
    fakescan("verify", run.url)


def test_the_same_command_resumes_and_then_has_nothing_to_do(
    fakescan: Command, pictures: Path, scanned: RunFolder
) -> None:
    run = scanned
    before, file = read_rows(run), run.open()
    for shard in (1, 3):
        Path(run.parts, f"part-{shard:08}.parquet").unlink()
    abandoned = Path(run.parts, f".part-00000001.parquet.{'0' * 16}.tmp")
    abandoned.write_bytes(b"of a writer that was killed")
    os.utime(abandoned, (0, 0))
    ended = fakescan("scan", pictures, "-o", run.url)
    assert not abandoned.exists()
    assert "scanned now: 14 in" in ended.out
    assert "rows: 30 of 30" in ended.out
    assert next(line for line in ended.err.splitlines() if "/30 " in line).startswith("16/30")
    after = read_rows(run)
    kept = [row for row in after if row["row_id"] // 8 in (0, 2)]
    assert kept == [row for row in before if row["row_id"] // 8 in (0, 2)]
    assert [row["score"] for row in after] == [row["score"] for row in before]
    assert run.open() == file
    ended = fakescan("scan", pictures, "-o", run.url)
    assert "rows: 30 of 30" in ended.out
    assert "scanned now" not in ended.out
    assert ended.out.startswith("complete since 20")
    assert f"with --new-since {run.url}" in ended.out
    assert read_rows(run) == after


def make_old(run: RunFolder) -> None:
    """The run as a version before schema 3 would have written it: its verdicts' words before its explanations."""
    file = Path(run.path, "run.json")
    stored = json.loads(file.read_text())
    del stored["meaning"]
    file.write_text(json.dumps({**stored, "schema_version": "2"}))
    old = run.open()
    for shard in range(old.sharding.count):
        table = pq.read_table(run.part(shard)).drop_columns(["remark", "phash", *PROVENANCE])
        words = [
            None if text is None else f"This is a {verdict} image. Forced."
            for verdict, text in zip(*(table[name].to_pylist() for name in ("verdict", "explanation")), strict=True)
        ]
        index = table.schema.get_field_index("explanation")
        table = table.set_column(index, table.schema.field(index), pa.array(words, pa.string()))
        run.write_part(
            shard,
            part_bytes(
                table.select(old.result_schema.names).cast(old.result_schema), old.sharding, shard, old.result_schema
            ),
        )


def test_a_run_of_an_earlier_version_is_finished_in_its_columns_and_in_the_models_own_words(
    fakescan: Command, images: Path, run: RunFolder
) -> None:
    scan = ("scan", images, "-o", run.url, "--shard-rows", 8, "--explain", "all", "--threshold", 0.9)
    fakescan(*scan)
    whole = read_rows(run)
    make_old(run)
    before, columns = read_rows(run), pq.read_schema(run.part(0)).names
    assert "remark" not in columns
    for shard in (1, 3):
        Path(run.part(shard)).unlink()
    ended = fakescan(*scan)
    assert " ".join(ended.err.split()).count("rows from now on have the model's own words, and no column remark") == 1
    assert "rows: 30 of 30" in ended.out
    assert {tuple(pq.read_schema(run.part(shard)).names) for shard in range(4)} == {tuple(columns)}
    overruled = 0
    for old, new, row in zip(before, whole, read_rows(run), strict=True):
        if row["row_id"] // 8 in (0, 2):
            assert row == old, "what exists is left as it is"
            continue
        own = "fake" if row["logit"] > 0 else "real"
        assert row["explanation"] == new["explanation"]
        assert row["explanation"].startswith(f"This is a {own} image.")
        overruled += own != row["verdict"]
    assert overruled
    fakescan("verify", run.url)
    assert "begun by an earlier version" in fakescan("summary", run.url).out
    quiet = ("scan", images, "-o", f"{run.url}-quiet", "--shard-rows", 8, "--explain", "none")
    fakescan(*quiet)
    other = RunFolder(f"{run.url}-quiet", Store())
    make_old(other)
    Path(other.part(1)).unlink()
    assert "own words" not in fakescan(*quiet).err, "nothing is explained, so there is nothing to say"


def test_every_row_says_what_must_stand_beside_its_verdict(fakescan: Command, images: Path, run: RunFolder) -> None:
    fakescan("scan", images, "-o", run.url)
    rows = read_rows(run)
    assert {row["remark"] for row in rows} == {"This verdict means nothing: no trained model gave it."}
    (images / "cut.jpg").write_bytes(b"no image")
    fakescan("scan", images, "-o", f"{run.url}-2", "--extensions", "any", "--max-error-rate", 1)
    failed = [row for row in read_rows(RunFolder(f"{run.url}-2", Store())) if row["error_code"]]
    assert failed
    assert {row["remark"] for row in failed} == {None}


def test_a_changed_setting_is_refused_and_changes_nothing(
    fakescan: Command, pictures: Path, scanned: RunFolder
) -> None:
    run = scanned
    before = read_rows(run)
    for flags, words in (
        (["--explain", "none"], "explain was fakes, now none"),
        (["--threshold", "0.9"], "calibration.threshold was 0.5, now 0.9"),
        (["--engine", "vllm"], "engine was fake, now vllm"),
        (["--shard-rows", "9"], "shard_rows was 8, now 9"),
        (["--limit", "5"], "limit was not set, now 5"),
    ):
        ended = fakescan("scan", pictures, "-o", run.url, *flags, status=2)
        assert words in error_line(ended)
        assert len(ended.err.splitlines()) == 1
    assert read_rows(run) == before
    fakescan("scan", pictures, "-o", run.url, "--replicas", "1-2")


def test_errors_are_rows_and_a_summary_and_a_status_only_if_asked(
    fakescan: Command, images: Path, run: RunFolder
) -> None:
    (images / "a.jpg").write_bytes(b"no image")
    (images / "b.jpg").touch()
    (images / "c.jpg").touch()
    ended = fakescan("scan", images, "-o", run.url)
    assert "rows: 33 of 33" in ended.out
    assert "errors 3" in ended.out
    assert error_codes(ended) == [["empty", "2"], ["not_an_image", "1"]]
    assert f"e.g. {images}/a.jpg: no image begins with" in ended.out
    ended = fakescan("scan", images, "-o", run.url, "--max-error-rate", "0.05", status=1)
    assert error_line(ended) == ("fakescan: error: 9.09% of the rows are errors, above --max-error-rate 5.00%")
    fakescan("scan", images, "-o", run.url, "--max-error-rate", "0.1")


def test_copies_are_judged_once_and_the_summary_says_so(fakescan: Command, images: Path, run: RunFolder) -> None:
    for path in sorted(images.iterdir())[:10]:
        shutil.copy(path, images / f"copy-{path.name}")
    (images / "words.jpg").write_bytes(b"no image")
    ended = fakescan("scan", images, "-o", run.url, "--shard-rows", 8, "--dedupe")
    line = "judged 30 of 41: 10 had the same content as another, 1 could not be read"
    assert line in ended.out.splitlines()
    verdicts: dict[str, set[Any]] = {}
    for row in read_rows(run):
        verdicts.setdefault(row["sha256"], set()).add((row["score"], row["explanation"]))
    assert {len(different) for different in verdicts.values()} == {1}
    fakescan("verify", run.url)
    ended = fakescan("scan", images, "-o", run.url, "--dedupe")
    assert "same content" not in ended.out, "nothing was left to do"
    ended = fakescan("scan", images, "-o", f"{run.url}-plain")
    assert "same content" not in ended.out


def test_a_source_without_one_good_image_is_scanned_all_the_same(
    fakescan: Command, tmp_path: Path, run: RunFolder
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(b"no image")
    ended = fakescan("scan", tmp_path, "-o", run.url, status=1)
    assert "errors 5" in ended.out
    assert "100.00% of the rows are errors" in error_line(ended)
    assert {row["error_code"] for row in read_rows(run)} == {"not_an_image"}
    fakescan("verify", run.url)


@pytest.mark.parametrize(("flag", "count"), [("--limit", 7), ("--sample", 7)])
def test_some_images_estimate_the_whole(fakescan: Command, images: Path, run: RunFolder, flag: str, count: int) -> None:
    ended = fakescan("scan", images, "-o", run.url, flag, count)
    assert "rows: 7 of 7" in ended.out
    (estimate,) = [line for line in ended.out.splitlines() if line.startswith("estimate:")]
    assert estimate.startswith("estimate: the whole source, 30 images, takes about ")
    assert estimate.endswith((" s", " min"))
    assert len(read_rows(run)) == count
    fakescan("verify", run.url)


def test_new_since_scans_what_is_new_or_changed(
    fakescan: Command, images: Path, run: RunFolder, tmp_path: Path
) -> None:
    fakescan("scan", images, "-o", run.url)
    Image.new("RGB", (50, 50), (1, 2, 3)).save(images / "new.png")
    changed = sorted(images.iterdir())[4]
    changed.write_bytes(changed.read_bytes() + b"\0")
    second = RunFolder(str(tmp_path / "second"), Store())
    ended = fakescan("scan", images, "-o", second.url, "--new-since", run.url)
    assert "rows: 2 of 2" in ended.out
    assert {row["uri"] for row in read_rows(second)} == {str(changed), str(images / "new.png")}
    third = tmp_path / "third"
    Path(images / "new.png").unlink()
    changed.unlink()
    ended = fakescan("scan", images, "-o", third, "--new-since", second.url)
    assert ended.out.startswith("nothing new: when the source was listed at 20")
    assert "starting engines" not in ended.err
    fakescan("verify", third)
    fakescan("scan", images, "-o", third, "--new-since", second.url)
    Image.new("RGB", (50, 50), (4, 5, 6)).save(images / "newer.png")
    fourth = RunFolder(str(tmp_path / "fourth"), Store())
    fakescan("scan", images, "-o", fourth.url, "--new-since", third)
    assert {row["uri"] for row in read_rows(fourth)} == {str(images / "newer.png")}


def test_several_engines_share_the_work(fakescan: Command, images: Path, run: RunFolder, tmp_path: Path) -> None:
    engine = {"kind": "fake", "max_num_seqs": 1, "step_s": 0.02}
    settings = config(tmp_path, source=str(images), output=run.url, engine=engine, replicas="1-2", shard_rows=2)
    fakescan("scan", "--config", settings)
    assert len(read_rows(run)) == 30
    fakescan("verify", run.url)


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--replicas", "99"], "the cluster has 4"), (["--gpus-per-replica", "1"], "the cluster has 0")],
)
def test_more_than_the_cluster_has_is_refused(
    fakescan: Command, images: Path, run: RunFolder, flags: list[str], words: str
) -> None:
    ended = fakescan("scan", images, "-o", run.url, *flags, status=2)
    assert words in error_line(ended)
    assert not run.fs.exists(f"{run.path}/lease.json")


def test_json_is_all_that_is_on_stdout(fakescan: Command, images: Path, run: RunFolder) -> None:
    (images / "a.jpg").write_bytes(b"no image")
    ended = fakescan("scan", images, "-o", run.url, "--json")
    found = json.loads(ended.out)
    assert (found["command"], found["exit_status"], found["exit_reason"], found["error"]) == ("scan", 0, "done", None)
    assert (found["run"], found["run_id"], found["rows"]) == (run.url, run.open().run_id, 31)
    assert found["errors_by_code"] == {"not_an_image": 1}
    assert (found["counts"]["rows"], found["counts"]["errors"], found["scanned"]["rows"]) == (31, 1, 31)
    assert "rows: 31 of 31" in ended.err, "what is for people goes to stderr"
    ended = fakescan("scan", images, "-o", run.url, "--json", "--quiet", "--max-error-rate", "0.01", status=1)
    found = json.loads(ended.out)
    assert (found["exit_status"], found["exit_reason"]) == (1, "error_rate")
    assert found["error"] == error_line(ended).removeprefix("fakescan: error: ")
    assert (found["counts"]["rows"], found["scanned"]["rows"]) == (31, 0)
    assert "rows: 31 of 31" not in ended.err
    ended = fakescan("scan", images, "-o", run.url, "--json", "--limit", 3, status=2)
    assert json.loads(ended.out)["exit_reason"] == "usage"


def test_a_log_file_has_what_ray_says_and_the_terminal_has_not(
    ray_cluster: str, images: Path, run: RunFolder, tiny_model: Path, tmp_path: Path
) -> None:
    """In a process of its own: connecting to Ray sets its logs up."""
    file = tmp_path / "log.txt"
    engine = ["--model", tiny_model, "--engine", "fake", "--ray-address", ray_cluster]
    scan = ScanProcess("scan", images, "-o", run.url, *engine, "--log-file", file)
    assert scan.end() == 0, scan.err
    text = file.read_text()
    assert " INFO ray.data." in text
    assert " WARNING fakescan.scan.driver: the engine is simulated" in text
    assert "Execution plan" not in scan.out + scan.err


def test_quiet_leaves_what_is_wrong(fakescan: Command, images: Path, run: RunFolder) -> None:
    (images / "notes.txt").touch()
    ended = fakescan("scan", images, "-o", run.url, "--quiet")
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert any("left out: 1 with other extensions" in line for line in lines)
    assert [line for line in lines if not line.startswith(("warning: ", " "))] == []


@pytest.mark.parametrize("kind", ["jsonl", "tar", "parquet"])
def test_lists_and_containers_are_scanned_to_the_end(
    fakescan: Command, images: Path, run: RunFolder, first_scan: Path, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / f"source.{kind}"
    paths = sorted(images.iterdir())
    if kind == "jsonl":
        source.write_text("\n".join(json.dumps({"path": f"images/{path.name}"}) for path in [*paths, paths[0]]))
    elif kind == "tar":
        shutil.make_archive(str(source.with_suffix("")), "tar", images)
    else:
        structs = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
        pq.write_table(pa.table({"image": structs}), source, row_group_size=7)
    fakescan("scan", source, "-o", run.url, "--shard-rows", 8)
    rows = read_rows(run)
    assert len(rows) == 30
    assert {row["error_code"] for row in rows} == {None}
    folder = RunFolder(str(first_scan), Store())
    assert sorted((row["sha256"], row["score"]) for row in rows) == sorted(
        (row["sha256"], row["score"]) for row in read_rows(folder)
    )
    fakescan("verify", run.url)


def test_poison_ends_as_its_own_row_although_two_engines_die_of_it(
    fakescan: Command, images: Path, run: RunFolder, tmp_path: Path
) -> None:
    Image.new("RGB", (84, 84), POISON_RGB).save(images / "00012-poison.png")
    engine = {"kind": "fake", "die_on_rgb": POISON_RGB}
    settings = config(tmp_path, source=str(images), output=run.url, engine=engine, replicas=2, shard_rows=8)
    ended = fakescan("scan", "--config", settings)
    rows = read_rows(run)
    assert [Path(row["uri"]).name for row in rows if row["error_code"]] == ["00012-poison.png"]
    assert [row["error_code"] for row in rows if row["error_code"]] == ["poison"]
    assert error_codes(ended) == [["poison", "1"]]
    fakescan("verify", run.url)


def test_parts_that_are_damaged_are_done_again(fakescan: Command, pictures: Path, scanned: RunFolder) -> None:
    run = scanned
    before = read_rows(run)
    Path(run.parts, "part-00000000.parquet").unlink()
    damaged = [Path(run.parts, f"part-0000000{shard}.parquet") for shard in (1, 2)]
    damaged[0].write_bytes(damaged[0].read_bytes()[:-50])
    data = damaged[1].read_bytes()
    damaged[1].write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    ended = fakescan("scan", pictures, "-o", run.url, "--retry-errors")
    assert "2 parts are damaged and are done again: part-00000001.parquet, part-00000002.parquet" in ended.err
    assert "scanned now: 24 in" in ended.out
    assert "rows: 30 of 30" in ended.out
    assert [row["score"] for row in read_rows(run)] == [row["score"] for row in before]
    fakescan("verify", run.url)


@pytest.mark.parametrize("flag", ["--limit", "--sample"])
def test_a_sample_is_continued_into_the_whole(
    fakescan: Command, images: Path, run: RunFolder, flag: str, tmp_path: Path
) -> None:
    fakescan("scan", images, "-o", run.url, flag, 20, "--shard-rows", 3)
    sample = {row["uri"]: row for row in read_rows(run)}
    (images / "notes.txt").touch()
    ended = fakescan("scan", images, "-o", run.url, "--shard-rows", 8)
    assert "scanned now: 14 in" in ended.out, "two parts of eight were judged in the sample"
    assert "rows: 30 of 30" in ended.out
    rows = {row["uri"]: row for row in read_rows(run)}
    assert rows.keys() == {str(path) for path in images.iterdir() if path.suffix != ".txt"}
    assert sum(rows[uri]["scanned_at"] == row["scanned_at"] for uri, row in sample.items()) == 16
    fakescan("verify", run.url)
    assert fakescan("scan", images, "-o", run.url).out.startswith("complete since")
    fakescan("scan", images, "-o", run.url, flag, 20, status=2)


def test_a_start_that_failed_binds_nobody(fakescan: Command, images: Path, run: RunFolder) -> None:
    fakescan("scan", images, "-o", run.url, "--replicas", 64, status=2)
    assert run.load() is not None
    (images / "late.txt").touch()
    fakescan("scan", images, "-o", run.url, "--explain", "none", "--extensions", "txt", "--max-error-rate", 1)
    assert [row["uri"] for row in read_rows(run)] == [str(images / "late.txt")]
    fakescan("verify", run.url)


def test_one_place_in_several_spellings_is_one_source(
    fakescan: Command, images: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    fakescan("scan", "images", "-o", run.url)
    for spelling in ("./images/", images, f"file://{images}", "../" + tmp_path.name + "/images"):
        assert fakescan("scan", spelling, "-o", run.url).out.startswith("complete since"), spelling
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(images, elsewhere / "images")
    monkeypatch.chdir(elsewhere)
    assert "source was" in error_line(fakescan("scan", "images", "-o", run.url, status=2))


def test_verdicts_are_made_anew(fakescan: Command, pictures: Path, scanned: RunFolder, tmp_path: Path) -> None:
    run = scanned
    strict = RunFolder(str(tmp_path / "strict"), Store())
    ended = fakescan("rejudge", run.url, "-o", strict.url, "--threshold", 0.9)
    assert "have another verdict" in ended.out
    assert [row["verdict"] == "fake" for row in read_rows(strict)] == [row["score"] >= 0.9 for row in read_rows(run)]
    fakescan("verify", strict.url)
    for wrong in ([], ["--threshold", 2], ["--threshold", "x"], ["--calibration", tmp_path / "none.json"]):
        fakescan("rejudge", run.url, "-o", tmp_path / "more", *wrong, status=2)
    assert fakescan("scan", pictures, "-o", strict.url, "--threshold", 0.9).out.startswith("complete since")


def test_an_engine_that_cannot_start_is_one_clear_error(
    fakescan: Command, images: Path, run: RunFolder, tiny_model: Path, tmp_path: Path
) -> None:
    """The checkpoint passes all checks on the driver; only the engine finds that it answers otherwise."""
    model = shutil.copytree(tiny_model, tmp_path / "model")
    card = json.loads((model / "fakevlm.json").read_text())
    (model / "fakevlm.json").write_text(json.dumps({**card, "prompt": {"answer_prefix": "The image is"}}))
    ended = fakescan("scan", images, "-o", run.url, "--engine", "vllm", "--model", model, status=2)
    assert "model: asked freely" in error_line(ended)
    assert not run.fs.exists(f"{run.path}/lease.json")


def test_a_file_in_place_of_the_parts_is_one_clear_error(fakescan: Command, images: Path, run: RunFolder) -> None:
    Path(run.path).mkdir()
    Path(run.parts).touch()
    ended = fakescan("scan", images, "-o", run.url, status=1)
    assert str(run.parts) in error_line(ended)
    os.remove(run.parts)
    fakescan("scan", images, "-o", run.url)
    fakescan("verify", run.url)
