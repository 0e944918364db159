"""Priorities: all threads of a process go down together, and never up."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

_PROGRAM = """
import os, threading
from fakescan.scan.priority import yield_to

done = threading.Event()
other = threading.Thread(target=done.wait)
other.start()
for niceness in (15, 19, 15):
    yield_to(niceness)
    print(*{os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir("/proc/self/task")})
done.set()
"""


def test_threads_that_run_already_yield_too_and_nothing_goes_back_up() -> None:
    environment = {**os.environ, "PYTHONPATH": "platform:."}
    command = [sys.executable, "-c", _PROGRAM]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    base = os.getpriority(os.PRIO_PROCESS, 0)
    assert [line.split() for line in ended.stdout.splitlines()] == [
        [str(max(base, niceness))] for niceness in (15, 19, 19)
    ]
