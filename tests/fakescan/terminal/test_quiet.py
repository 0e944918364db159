"""Silence: of Python, of C, of what Python still holds; and the streams as they were afterwards."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

PROGRAM = """
import ctypes, os, sys
from fakescan.terminal.quiet import quiet
libc = ctypes.CDLL(None)
print("before")
with quiet(show={show}):
    print("python", "x" * 10)
    print("python", file=sys.stderr)
    os.write(1, b"raw\\n")
    os.system("echo child; echo child >&2")
    sys.stdout.write("not flushed")
print("after")
try:
    with quiet():
        raise RuntimeError
except RuntimeError:
    print("again", file=sys.stderr)
"""


def run(*, show: bool) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM.format(show=show)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_nothing_comes_out_and_then_everything_again() -> None:
    done = run(show=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "before\nafter\n", "again\n")


def test_it_is_shown_beside_the_results() -> None:
    done = run(show=True)
    assert done.stdout == "before\nafter\n"
    for words in ("python xxxxxxxxxx", "raw", "child", "not flushed"):
        assert words in done.stderr


def test_streams_that_are_closed() -> None:
    program = "from fakescan.terminal.quiet import quiet\nwith quiet():\n    print('nowhere')\n"
    done = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, program], timeout=60)
    assert done.returncode == 0
