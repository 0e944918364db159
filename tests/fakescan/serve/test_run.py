"""What `fakescan serve` makes of Serve's messages, of signals, and of settings that it can check before it starts."""

import os
import signal
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from fakescan.cli.exit_status import ending_of
from fakescan.cli.serve import serve as serve_command
from fakescan.engine.judging_options import read_calibration
from fakescan.serve import run
from fakescan.serve.config import ServeConfig
from fakescan.serve.keys import KeyEdit, KeyFile
from fakescan.serve.run import _signals, cause_of, check, key_faults
from fakescan.serve.serve_file import ServeFile, Server
from fakescan.storage.store import Store
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit

TRACE = 'Traceback (most recent call last):\n  File "/app/vllm_setup.py", line 92, in engine_arguments\n'


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (f"{TRACE}fakevlm.errors.UserError: engine.dtype: no such type", "engine.dtype: no such type"),
        (f"{TRACE}RuntimeError: out of memory\n\nThe above exception was\n", "RuntimeError: out of memory"),
        ("the actor died\n", "the actor died"),
        ("", "no reason given"),
    ],
)
def test_the_cause_is_one_line(message: str, cause: str) -> None:
    assert cause_of(message) == cause


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("top", "args", "words"),
    [
        (
            {"logging_config": {"logs_dir": "FILE/logs"}},
            {},
            "logging_config.logs_dir: cannot write in FILE/logs: Not a",
        ),
        ({"logging_config": {"logs_dir": "/proc/nix"}}, {}, "logging_config.logs_dir: cannot write in /proc/nix: No"),
        ({}, {"access_log": {"folder": "FILE"}}, "access_log.folder: cannot write in FILE: "),
        ({}, {"calibration": "FOLDER"}, "calibration: "),
    ],
)
def test_what_cannot_be_written_or_read_is_one_line(
    tmp_path: Path, top: dict[str, Any], args: dict[str, Any], words: str
) -> None:
    (tmp_path / "file").touch()

    def real(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: real(inner) for name, inner in value.items()}
        return value.replace("FILE", str(tmp_path / "file")).replace("FOLDER", str(tmp_path))

    file = ServeFile.model_validate({"http_options": {"port": free_port()}, **real(top)})
    server = Server(file=file, config=ServeConfig.model_validate({"no_auth": True, "engine": "fake", **real(args)}))
    with pytest.raises(UserError) as caught:
        check(server)
    assert str(caught.value).startswith(real(words))
    assert "\n" not in str(caught.value)


def test_a_cluster_is_only_warned(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """This machine need not be one of its nodes."""
    (tmp_path / "file").touch()
    args = {"no_auth": True, "engine": "fake", "access_log": {"folder": str(tmp_path / "file")}}
    file = ServeFile.model_validate({"http_options": {"port": free_port()}})
    check(Server(file=file, config=ServeConfig.model_validate(args)), local=False)
    assert "warning: access_log.folder: this machine cannot write in" in capfd.readouterr().err


def test_keys_that_open_nothing_and_files_that_others_write_are_told() -> None:
    edit = KeyEdit(KeyFile())
    edit.add("off")
    edit.add("late", expires_at=datetime.now(UTC) + timedelta(days=1))
    assert list(key_faults(edit.keys, 0o600)) == []
    edit.disable("off")
    edit.keys[1] = edit.keys[1].model_copy(update={"expires_at": datetime.now(UTC) - timedelta(days=1)})
    (fault,) = key_faults(edit.keys, 0o640)
    assert "all keys are disabled or have expired" in fault
    edit.add("good")
    (fault,) = key_faults(edit.keys, 0o100666)
    assert "everybody on this machine can write it" in fault
    assert "now 666" in fault


@pytest.mark.parametrize("insists", [False, True])
def test_a_second_signal_ends_the_wait(insists: bool) -> None:
    with _signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.wait() == "stop"
        if insists:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        started = time.monotonic()
        signals.wait_for_another(3.0 if insists else 0.1)
        waited = time.monotonic() - started
    assert waited < 2.0 if insists else waited >= 0.1


def test_a_start_that_is_interrupted_is_not_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_server", interrupted)
    with pytest.raises(click.Abort) as caught:
        serve_command.main(["--no-auth", "--engine", "fake"], obj=False, standalone_mode=False)
    ending = ending_of(caught.value)
    assert ending is not None
    assert (ending.status, "resume" in ending.message) == (130, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"temprature": 1}', "unknown setting (did you mean temperature?)"),
        ('{"colour": 1}', "colour: unknown setting; see fakescan calibrate --help"),
        (None, "calibration: cannot read "),
    ],
)
def test_a_calibration_that_is_none_is_one_line(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path if content is None else tmp_path / "calibration.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError) as caught:
        read_calibration(str(file), Store())
    assert words in str(caught.value)
