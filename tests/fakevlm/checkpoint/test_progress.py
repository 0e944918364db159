"""The progress of a download or a hash: lines where stderr is no terminal, a bar on one, nothing where unwanted."""

import os
import pty
import sys

import pytest

from fakevlm.checkpoint import progress
from fakevlm.checkpoint.progress import BytesProgress, Step

pytestmark = pytest.mark.unit


def follow(show: bool) -> None:
    with BytesProgress("downloading owner/name", 14_000_000_000, 1_000_000_000, show=show) as shown:
        for done in (1, 3, 7, 14):
            shown.update(done * 10**9)


def test_a_short_download_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    follow(show=True)
    assert capfd.readouterr().err == ""


def test_a_line_every_some_seconds(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.0)
    monkeypatch.setattr(progress, "LINE_S", 1000.0)
    follow(show=True)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("downloading owner/name  1.0 GB of 14.0 GB  ")
    assert line.endswith("/s")


def test_workers_say_nothing(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.0)
    follow(show=False)
    assert capfd.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        follow(show=True)
        terminal.flush()
        shown = os.read(ours, 2**16).decode()
    os.close(ours)
    assert "downloading owner/name" in shown
    assert "14.0" in shown
    assert "GB" in shown


def test_who_listens_hears_every_step(capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[Step] = []
    with BytesProgress("hashing the model", 3_000_000, 0, show=False, report=heard.append) as shown:
        shown.update(1_500_000)
    assert [str(step) for step in heard] == [
        "hashing the model  0 bytes of 3.0 MB",
        "hashing the model  1.5 MB of 3.0 MB",
    ]
    assert str(Step("loading the model")) == "loading the model"
    assert capfd.readouterr().err == ""
