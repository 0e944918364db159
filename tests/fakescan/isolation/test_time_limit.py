"""Time limit: a process ends that does not go on, and only that one; in processes of their own, which die of it."""

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.unit

HEADER = """
import asyncio, ctypes, signal, sys, time
from fakescan.isolation.time_limit import Timed, renew, time_limit, uncounted, while_responsive
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HEADER + program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "work",
    [
        "ctypes.PyDLL(None).pause()",  # keeps Python's lock, so that no thread of Python could do anything
        "ctypes.CDLL(None).pause()",
        "exec('while True: pass')",
        "time.sleep(60)",
    ],
)
def test_what_never_ends_is_ended_and_says_where_it_was(work: str) -> None:
    started = time.monotonic()
    ended = run(f"def never_ends():\n    {work}\nwith time_limit(0.3):\n    never_ends()")
    assert ended.returncode == -signal.SIGALRM
    assert "in never_ends" in ended.stderr
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "program",
    [
        "with time_limit(0.5):\n    pass\ntime.sleep(0.8)",
        "with time_limit(0.5):\n    for _ in range(8):\n        time.sleep(0.1)\n        renew()",
        "with time_limit(0.5):\n    with uncounted():\n        time.sleep(0.8)\n    time.sleep(0.1)",
        "with time_limit(0.5):\n    asyncio.run(while_responsive(asyncio.sleep(0.8)))",
        "with uncounted():\n    renew()\ntime.sleep(0.2)",
        "assert Timed(len, 0.5)('four') == 4\ntime.sleep(0.8)",
        "try:\n    Timed(int, 0.5)('four')\nexcept ValueError:\n    time.sleep(0.8)",
        "with time_limit(float('inf')):\n    time.sleep(0.2)",
    ],
)
def test_what_goes_on_is_left_alone(program: str) -> None:
    if "while_responsive" in program:
        program = "import fakescan.isolation.time_limit as module\nmodule._TICK_S = 0.1\n" + program
    ended = run(program + "\nprint('end')")
    assert (ended.returncode, ended.stdout) == (0, "end\n"), ended.stderr


@pytest.mark.parametrize(
    "program",
    [
        "with time_limit(0.3):\n    with uncounted(unless=True):\n        time.sleep(60)",
        "with time_limit(0.3):\n    with uncounted():\n        pass\n    time.sleep(60)",
        "async def blocks():\n    await asyncio.sleep(0)\n    time.sleep(60)\n"
        "with time_limit(0.5):\n    asyncio.run(while_responsive(blocks()))",
    ],
)
def test_what_counts_is_counted(program: str) -> None:
    assert run(program).returncode == -signal.SIGALRM


def test_an_alarm_of_others_goes_on() -> None:
    program = """
rung = []
signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
started = time.monotonic()
signal.setitimer(signal.ITIMER_REAL, 0.5)
with time_limit(30):
    time.sleep(0.2)
time.sleep(1)
assert 0.4 < rung[0] - started < 0.9, rung
"""
    ended = run(program)
    assert ended.returncode == 0, ended.stderr
