"""Whatever is written to stderr, by whom and how, each line is one object."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.json_lines import json_lines

pytestmark = pytest.mark.unit

START = """
import logging, os, sys, threading, subprocess, faulthandler, warnings
from fakescan.storage.url import redact_urls
from fakescan.terminal.json_logs.fields import log_fields, set_process_fields
from fakescan.terminal.json_logs.output import start
from fakescan.terminal.logs import log_session, show_logs
logger = logging.getLogger("fakescan.test")
start(redact_urls)
"""


def run(program: str, *options: str, status: int = 0) -> list[dict[str, Any]]:
    """The lines that a program writes to stderr."""
    done = subprocess.run(
        [sys.executable, *options, "-c", START + program], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert done.returncode == status, done.stderr
    return json_lines(done.stderr)


def messages(lines: list[dict[str, Any]]) -> list[str]:
    return [line["message"] for line in lines]


def test_a_record_says_where_it_is_from() -> None:
    (line,) = run(
        """
set_process_fields(command="scan", run_id="r1", run="s3://b/out", host="here")
with log_session(), log_fields(shard=3, uri="s3://b/a.jpg"):
    logger.warning("a %s", "word", extra={"replica": "x#1", "password": "hunter2"})
"""
    )
    assert isinstance(line.pop("pid"), int)
    del line["time"]
    assert line == {
        "level": "WARNING",
        "logger": "fakescan.test",
        "message": "a word",
        "command": "scan",
        "run_id": "r1",
        "run": "s3://b/out",
        "shard": 3,
        "uri": "s3://b/a.jpg",
        "replica": "x#1",
        "host": "here",
    }


@pytest.mark.parametrize(
    "name",
    [
        "a\nfakescan: error: all is lost",
        'a\n{"time": "x", "level": "ERROR", "logger": "y", "message": "z"}',
        "a\r\x1b[2Kb",
        "a\x00b\x07c\x85d\u2028e",
        "\udcff half a character",
        'quotes " and \\ and </script>',
        "日本語 🎉",
        "long " * 10_000,
    ],
    ids=lambda name: name[:9].encode("unicode_escape").decode(),
)
def test_no_name_makes_a_line_of_its_own(name: str) -> None:
    (line,) = run(f"with log_session(): logger.error('%s', {name!r})")
    assert line["message"] == name.encode(errors="backslashreplace").decode()
    assert line["level"] == "ERROR"


def test_all_ways_to_stderr() -> None:
    lines = run(
        """
print("printed", file=sys.stderr)
sys.stderr.write("in two "); sys.stderr.write("parts\\n")
sys.stderr.buffer.write(b"bytes \\xff\\n")
os.write(2, b"past Python\\r\\n\\n")
os.write(sys.stderr.fileno(), b"\\x1b[31mred\\x1b[0m\\n")
subprocess.run("echo from a child >&2", shell=True)
os.write(2, b"without an end")
"""
    )
    expected = {"printed", "in two parts", "bytes \\xff", "past Python", "red", "from a child", "without an end"}
    assert set(messages(lines)) == expected
    assert {line["logger"] for line in lines} == {"stderr"}
    assert all(line.get("via") == "stderr" for line in lines if line["message"] not in ("printed", "in two parts"))


def test_what_is_wrapped_has_the_fields_of_the_process() -> None:
    (line,) = run("set_process_fields(run_id='r7', command='scan'); os.write(2, b'a line of C\\n')")
    assert (line["run_id"], line["command"], line["message"]) == ("r7", "scan", "a line of C")
    assert isinstance(line["pid"], int)


def test_lines_of_json_of_another_process_are_not_wrapped_twice() -> None:
    program = """
set_process_fields(run_id="r7")
os.write(2, b'{"time": "2026-01-01T00:00:00.000+00:00", "level": "ERROR", "logger": "vllm.engine", "message": "m"}\\n')
os.write(2, b'{"message": "no other field"}\\n[1]\\n{"a": NaN}\\n{broken\\n' + b'[' * 100_000 + b'\\n')
"""
    first, *others = run(program)
    assert first["message"] == "m"
    assert (first["level"], first["logger"], first["run_id"]) == ("ERROR", "vllm.engine", "r7")
    assert first["time"].startswith("2026-01-01")
    assert {line["logger"] for line in others} == {"stderr"}
    assert json.loads(others[0]["message"]) == {"message": "no other field"}


def test_an_uncaught_error_is_one_line() -> None:
    lines = run("raise ValueError('first\\nsecond')", status=1)
    (line,) = lines
    assert line["level"] == "CRITICAL"
    assert "ValueError: first" in line["message"]
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("second")


def test_errors_elsewhere_are_lines_too() -> None:
    lines = run(
        """
def fail(): raise RuntimeError("in a thread")
thread = threading.Thread(target=fail, name="worker-1"); thread.start(); thread.join()
class Broken:
    def __del__(self): raise RuntimeError("in a destructor")
Broken()
logger.propagate = True
with log_session():
    try: fail()
    except RuntimeError: logger.exception("it failed")
    logger.warning("%d", "no number")
"""
    )
    assert "an error has ended worker-1: RuntimeError: in a thread" in messages(lines)
    assert any("in a destructor" in line["message"] and "__del__" in line["message"] for line in lines)
    (caught,) = [line for line in lines if line["message"] == "it failed"]
    assert caught["exception"].endswith("RuntimeError: in a thread")


def test_warnings_that_were_asked_for() -> None:
    lines = run("with log_session(): warnings.warn('too old', DeprecationWarning)", "-W", "always")
    (line,) = [line for line in lines if "too old" in line["message"]]
    assert (line["level"], line["logger"]) == ("WARNING", "py.warnings")


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("faulthandler.enable(); faulthandler._sigsegv()", -signal.SIGSEGV, "Segmentation fault"),
        ("os.abort()", -signal.SIGABRT, None),
        ("os._exit(7)", 7, None),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL, None),
    ],
)
def test_the_last_words_of_a_process_that_dies(program: str, status: int, words: str | None) -> None:
    lines = run(f"with log_session(): logger.warning('before'); os.write(2, b'raw\\n'); {program}", status=status)
    assert {"before", "raw"} <= set(messages(lines))
    if words is not None:
        assert any(words in message for message in messages(lines))


def test_many_threads_and_processes_at_once() -> None:
    lines = run(
        """
def log(n):
    for i in range(200):
        logger.warning("%s", f"{n}/{i} " + "x" * (i * 60))
        print(f"printed {n}/{i} " + "y" * (i * 40), file=sys.stderr)
with log_session():
    threads = [threading.Thread(target=log, args=(n,)) for n in range(4)]
    child = subprocess.Popen("for i in $(seq 200); do echo child $i >&2; done", shell=True)
    [thread.start() for thread in threads]; [thread.join() for thread in threads]; child.wait()
"""
    )
    assert len(lines) == 2 * 4 * 200 + 200


def test_secrets_in_addresses_are_not_logged() -> None:
    url = "https://user:secret@host/a.jpg?X-Amz-Signature=secret"
    lines = run(
        f"""
with log_session(), log_fields(uri={url!r}):
    logger.warning("cannot fetch %s", {url!r})
    try: raise OSError({url!r})
    except OSError: logger.exception("again")
"""
    )
    assert "secret" not in json.dumps(lines)
    assert lines[0]["message"] == "cannot fetch https://host/a.jpg"


def test_it_goes_on_where_nobody_reads(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = "with log_session(): [logger.warning('%d', i) for i in range(5000)]; os.write(2, b'x' * 500_000)"
    done = subprocess.run(
        [sys.executable, "-c", f"{START}{program}\nprint('done')"], stdout=-1, stderr=writer, timeout=60
    )
    os.close(writer)
    assert done.stdout == b"done\n"


def test_it_does_without_its_wrapper() -> None:
    lines = run(
        """
from fakescan.terminal.json_logs.output import json_output
json_output()._process.kill(); json_output()._process.wait()
with log_session(): logger.warning("still here")
set_process_fields(run_id="r")
"""
    )
    assert messages(lines) == ["still here"]


def test_what_is_silenced_stays_silent() -> None:
    lines = run(
        """
from fakescan.terminal.quiet import quiet
with log_session(), quiet():
    print("a library", file=sys.stderr); os.write(2, b"in C\\n"); print("on stdout")
    logger.warning("a warning of ours")
with quiet(show=True): print("shown")
"""
    )
    assert sorted(messages(lines)) == ["a warning of ours", "shown"]


def test_a_warning_that_was_just_said_is_not_said_again() -> None:
    lines = run("with log_session(): [logger.warning('again') for _ in range(3)]; logging.getLogger('x').warning('no')")
    assert messages(lines) == ["again"]
