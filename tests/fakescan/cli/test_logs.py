"""-v and --log-file: before a command's name or after it, and a file that tells later what went on."""

import logging
import os
import re
from pathlib import Path

import pytest

from fakescan.cli.main import main
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) [\w.]+: ")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"x")
    return folder


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Status, standard output, standard error."""
    with pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    return int(exit.value.code or 0), *capfd.readouterr()


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_log_file(images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str) -> None:
    file = tmp_path / "log.txt"
    flags, command = ["--log-file", file], ["index", images, "-o", tmp_path / "manifest"]
    status, _, err = run(capfd, *([*flags, *command] if place == "before" else [*command, *flags]))
    assert (status, err) == (0, "")
    lines = file.read_text().splitlines()
    assert any("indexed 1 images" in line for line in lines)
    assert all(LINE.match(line) for line in lines)


def test_a_log_file_of_a_sub_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for flags in (["--log-file", tmp_path / "a", "data", "stats"], ["data", "--log-file", tmp_path / "b", "stats"]):
        status, _, err = run(capfd, *flags, "/nowhere")
        assert status == 2
        assert err.count("\n") == 1
    status, _, _ = run(capfd, "data", "stats", "/nowhere", "--log-file", tmp_path / "c")
    assert status == 2
    for name in "abc":
        (line,) = (tmp_path / name).read_text().splitlines()
        assert LINE.match(line), line
        assert "ERROR fakescan: " in line
        assert "/nowhere" in line


def test_two_commands_add_to_one_file(images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "log.txt"
    for name in ("a", "b"):
        run(capfd, "--log-file", file, "index", images, "-o", tmp_path / name, "--log-file", file)
    assert file.read_text().count("indexed 1 images") == 2, "once for each command"


@pytest.mark.parametrize("place", ["before", "after"])
def test_verbose(images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str) -> None:
    command = ["index", images, "-o", tmp_path / "manifest"]
    status, _, err = run(capfd, *(["-v", *command] if place == "before" else [*command, "--verbose"]))
    assert status == 0
    assert "info: indexed 1 images" in err


@pytest.mark.parametrize(
    ("file", "reason"), [("FOLDER", "Is a directory"), ("/no/such/folder/log", "No such file"), ("IMAGE/log", "Not a")]
)
def test_a_log_file_that_cannot_be_written(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], file: str, reason: str
) -> None:
    file = file.replace("FOLDER", str(images)).replace("IMAGE", str(images / "a.png"))
    for arguments in (["--log-file", file, "verify", "x"], ["verify", "x", "--log-file", file]):
        status, out, err = run(capfd, *arguments)
        assert (status, out) == (2, "")
        assert err.startswith(f"fakescan: error: --log-file: cannot write {file}: {reason}")
        assert err.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_disk_that_fills_up_ends_the_log_and_not_the_command(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capfd, "index", images, "-o", tmp_path / "manifest", "--log-file", "/dev/full")
    assert status == 0
    assert "1 images" in out
    full = "/dev/full cannot be written (No space left on device)"
    assert err == f"WARNING: --log-file: {full}: no more is logged there\n"


def test_a_mistake_of_the_program_is_in_the_file_whole(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder)

    def broken(_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("fakescan.run.verify.verify", broken)
    with pytest.raises(ZeroDivisionError):
        main(["verify", folder.url, "--log-file", str(tmp_path / "log")])
    text = (tmp_path / "log").read_text()
    assert "CRITICAL" in text
    assert "ZeroDivisionError: by zero" in text


def test_the_session_leaves_logging_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    run(capfd, "-v", "--log-file", tmp_path / "log", "verify", "/nowhere")
    assert (root.level, list(root.handlers)) == before
