"""`fakescan summary`: what people and programs read of a run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakescan.cli.main import main
from fakescan.cli.summary import lines_of
from fakescan.run.folder import RunFolder
from fakescan.run.summary.summary import summarize
from fakescan.storage.store import Store
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run
from tests.fakescan.run.summary.test_summary import written

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return written(RunFolder(str(tmp_path / "run"), Store()))


def summary(capfd: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as exit:
        main(["summary", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert (exit.value.code or 0) == status, err
    assert "Traceback" not in err
    return out, err


def test_for_people(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = summary(capfd, folder.url)
    lines = out.splitlines()
    assert err == ""
    assert "finished: 7 rows" in lines
    words = [line.split() for line in lines]
    assert ["real", "1", "14.3%"] in words
    assert ["errors", "3", "42.9%"] in words
    assert ["denied", "2", "e.g.", "s3://b/dogs/2.jpg:", "forbidden"] in words
    assert ["4", "1", "0", "0", "3", "dogs"] in words
    assert "folders below s3://b" in lines
    assert "warning: 1 of these contents got different verdicts" in lines
    band = next(line for line in lines if line.startswith("  0.9-1.0"))
    assert band.endswith("█" * 30)
    assert max(len(line) for line in lines if "s3://" not in line) <= 80


def test_for_programs(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = summary(capfd, folder.url, "--json", "--depth", 2)
    found = json.loads(out)
    assert (found["outcomes"]["fake"], found["folders"]["depth"], found["copies"]["differing"]) == (2, 2, 1)
    assert found["is_finished"] is True
    assert err == ""


def test_unfinished(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    Path(folder.part(0)).unlink()
    out, _ = summary(capfd, folder.url)
    assert "unfinished: 3 of 7 rows" in out.splitlines()


def test_a_damaged_part_is_one_line_and_a_status(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    Path(folder.part(0)).write_bytes(b"no Parquet")
    for flags in ([], ["--json"]):
        out, err = summary(capfd, folder.url, *flags, status=1)
        first, last = err.splitlines()
        assert first.startswith("parts/part-00000000.parquet cannot be read: ")
        assert last == ("fakescan: error: 1 part cannot be read: the summary is without 4 rows; see fakescan verify")
        assert out
    assert json.loads(out)["unreadable"][0]["rows"] == 4


def test_a_run_in_a_bucket(folder: RunFolder, s3_bucket: Bucket, capfd: pytest.CaptureFixture[str]) -> None:
    url = s3_bucket.upload(Path(folder.path), "run")
    options = {name: secret.get_secret_value() for name, secret in s3_bucket.store.options.items()}
    flags = [flag for name, value in options.items() for flag in ("--output-option", f"{name}={value}")]
    out, _ = summary(capfd, url, "--output-endpoint", s3_bucket.store.endpoint_url, *flags)
    assert "finished: 7 rows" in out.splitlines()


def test_many_folders_and_odd_names(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No name of a file or folder reaches the terminal as anything but text on its line."""
    folder = RunFolder(str(tmp_path / "run"), Store())
    names = ["\x1b[2Jred", "new\nline", "\u202egpj", *(f"f{number:02}" for number in range(30))]
    rows = [{"uri": f"/d/{name}/1.jpg", "error_code": "denied", "error_message": "a\x07b"} for name in names]
    out, _ = summary(capfd, written(folder, rows).url)
    assert "in 13 more" in out
    assert not any(letter in out for letter in "\x1b\x07\u202e")
    assert r"a\x07b" in out
    found = summarize(folder)
    text = "\n".join(lines_of(found))
    assert "#" in text or not sum(found.bands)


def test_the_bars_are_ascii_where_the_output_is(folder: RunFolder) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fakescan.cli", "summary", folder.url],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert b"  " + b"#" * 30 in done.stdout
    assert b"\\u" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "RUN"),
        (["EMPTY"], "holds no run"),
        (["/no/such/run"], "there is no such file or folder"),
        (["RUN", "--depth", "0"], "--depth"),
        (["RUN", "--depth", "many"], "--depth"),
        (["ftpx://host/run"], "unknown scheme"),
        (["s3://b/run", "--output-endpoint", "http://127.0.0.1:9", "--output-anon"], "reach"),
    ],
)
def test_wrong_use(
    arguments: list[str], words: str, folder: RunFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": str(tmp_path / "empty"), "RUN": folder.url}
    out, err = summary(capfd, *(places.get(argument, argument) for argument in arguments), status=2)
    assert out == ""
    (line,) = err.splitlines()
    assert words in line


def test_a_run_in_a_folder_whose_name_is_not_utf8(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff"))
    whole = RunFolder(str(tmp_path / "run"), Store())
    make_run(whole)
    Path(whole.path).rename(place)
    for flags in (["--json"], []):
        out, _ = summary(capfd, *flags, place)
        assert "50" in out
