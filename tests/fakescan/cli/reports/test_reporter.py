"""--json and --quiet of verify and index: one object and nothing else on stdout, also where the command fails."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.main import main
from fakescan.cli.reports import json_report
from fakescan.cli.reports.reporter import JsonReport
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[4]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder)
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(ROOT / "samples" / "images" / "cat.webp", folder)
    (folder / "notes.txt").touch()
    return folder


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Status, standard output, standard error."""
    with pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    return int(exit.value.code or 0), *capfd.readouterr()


def json_of(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Status, the object on standard output, standard error."""
    status, out, err = run(capfd, *arguments, "--json")
    assert out.count("\n") == 1
    found = json.loads(out)
    assert isinstance(found, dict)
    assert found["exit_status"] == status
    return status, found, err


def test_verify(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    status, found, err = json_of(capfd, "verify", folder.url)
    assert status == 0
    assert (found["command"], found["exit_reason"], found["error"], found["problems"]) == ("verify", "done", None, [])
    assert found["counts"] == {"rows": 50, "real": 22, "fake": 21, "uncertain": 0, "errors": 7}
    assert found["errors_by_code"] == {"not_found": 7}
    assert (found["run"], found["run_id"], found["rows"]) == (folder.url, folder.open().run_id, 50)
    assert found["seconds"] >= 0
    assert err.startswith("ok: 50 rows, each once"), "what is for people goes to stderr"


def test_verify_of_a_damaged_run(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        Path(folder.part(number)).write_bytes(b"damaged")
    status, found, err = json_of(capfd, "verify", folder.url)
    assert (status, found["exit_reason"]) == (1, "problems")
    assert [problem.partition(" ")[0] for problem in found["problems"]] == [
        "parts/part-00000001.parquet",
        "parts/part-00000002.parquet",
    ]
    assert err.splitlines()[-1] == f"fakescan: error: {found['error']}"


def test_a_failure_without_a_summary_is_an_object_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, found, err = json_of(capfd, "verify", tmp_path)
    assert (status, found["command"], found["exit_reason"]) == (2, "verify", "usage")
    assert err == f"fakescan: error: {found['error']}\n"
    assert set(found) == set(JsonReport.__dataclass_fields__)


def test_index(images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, found, err = json_of(capfd, "index", images, "-o", tmp_path / "manifest")
    assert (status, found["rows"], found["manifest"]) == (0, 1, f"{tmp_path}/manifest")
    assert found["left_out"] == {"with other extensions": 1}
    assert found["left_out_extensions"] == {".txt": 1}
    assert found["known_bytes"] == (images / "cat.webp").stat().st_size
    assert err.startswith("1 images in ")


def test_quiet(folder: RunFolder, images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "verify", folder.url, "--quiet") == (0, "", "")
    status, out, err = run(capfd, "index", images, "-o", tmp_path / "manifest", "-q")
    assert (status, out) == (0, "")
    assert "warning: left out: 1 with other extensions" in err, "what is left out is always said"
    Path(folder.part(1)).unlink()
    status, out, err = run(capfd, "verify", folder.url, "--quiet")
    assert (status, out) == (1, "")
    assert "parts/part-00000001.parquet is missing" in err
    status, found, err = json_of(capfd, "verify", folder.url, "--quiet")
    assert (status, len(found["problems"])) == (1, 1)


def test_what_a_library_prints_does_not_reach_stdout(
    folder: RunFolder, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fakescan.run.verify import verify

    def noisy(of: RunFolder) -> Any:
        print("from Python")
        os.write(1, b"from C\n")
        subprocess.run(["echo", "from a process"], check=True)
        return verify(of)

    monkeypatch.setattr("fakescan.run.verify.verify", noisy)
    status, _, err = json_of(capfd, "verify", folder.url)
    assert status == 0
    assert {"from Python", "from C", "from a process"} <= set(err.splitlines())
    print("after")
    assert capfd.readouterr().out == "after\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_streams_that_are_closed(folder: RunFolder, closed: str) -> None:
    script = Path(sys.executable).with_name("fakescan")
    done = subprocess.run(
        f"{script} verify {folder.url} --json {closed}", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert (done.stdout == "") == (closed == ">&-")


def test_the_docs_have_every_field() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(\w+)`", text[text.index("## JSON") :]))
    for report in (JsonReport, json_report.ScanReport, json_report.VerifyReport, json_report.IndexReport):
        assert set(report.__dataclass_fields__) <= names, report.__name__
    assert set(json_report.DryRunReport.__dataclass_fields__) <= names
