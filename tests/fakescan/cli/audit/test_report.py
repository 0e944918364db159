"""`fakescan report`: what people and programs read, and what is refused."""

import json
from pathlib import Path

import pytest

from fakescan.cli.main import main
from tests.fakescan.report.conftest import MadeRun, make_report_run

pytestmark = pytest.mark.unit


def report(capfd: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ending:
        main(["report", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert (ending.value.code or 0) == status, err
    assert "Traceback" not in err
    return out, err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    return make_report_run(tmp_path_factory.mktemp("cli-report"), rows=96)


def test_for_people(run: MadeRun, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = report(capfd, run.folder.url, "--thumbs", 0, "-q")
    assert (out, err) == ("", "")
    out, _ = report(capfd, run.folder.url, "--thumbs", 0)
    lines = out.splitlines()
    assert lines[0].startswith("It is not known how many of 92 images are fake")
    assert f"report: {run.folder.url}/report/report.html" in lines
    assert lines[-1] == f"all images: fakescan view {run.folder.url}"


def test_for_programs(run: MadeRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = report(capfd, run.folder.url, "-o", tmp_path / "elsewhere", "--thumbs", 0, "--json")
    found = json.loads(out)
    assert (found["command"], found["rows"], found["errors"], found["thumbs"]) == ("report", 96, 4, 0)
    assert Path(found["page"]).read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("place", ["", "parts", "manifest/x", "labels"])
def test_no_report_inside_the_runs_own_folders(run: MadeRun, place: str, capfd: pytest.CaptureFixture[str]) -> None:
    _, err = report(capfd, run.folder.url, "-o", f"{run.folder.url}/{place}", status=2)
    assert "output: " in err


def test_wrong_places(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, err = report(capfd, tmp_path / "nothing", status=2)
    assert "holds no run" in err or "does not exist" in err or "no such" in err.lower()
    _, err = report(capfd, tmp_path, "--thumbs", -1, status=2)
    assert "thumbs" in err


def test_labels_that_cannot_be_read(run: MadeRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"sha256": "x"}\n')
    _, err = report(capfd, run.folder.url, "--labels", labels, "-o", tmp_path / "r", status=2)
    assert "labels: line 1 of" in err
    assert not (tmp_path / "r").exists()
