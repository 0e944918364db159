"""Processes: what an engine has started ends with it, however it ends, and no other process is killed in its place."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from fakescan.engine.health.processes import descendants, kill_tree, started_at

pytestmark = pytest.mark.unit

PARENT = """
import subprocess, sys, time
from fakescan.engine.health.processes import exit_with_children, reap_after
if sys.argv[1] == "reaped":
    reap_after()
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
if sys.argv[1] == "exit":
    sys.stdin.readline()
    exit_with_children(3)
time.sleep(600)
"""


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 20
    while started_at(pid) is not None:
        assert time.monotonic() < end, f"{pid} is still there"
        time.sleep(0.02)


@pytest.fixture
def parent(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-c", PARENT, request.param]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    yield process, child
    process.kill()
    process.wait()
    for pid in (child,):
        if started_at(pid) is not None:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("parent", ["plain"], indirect=True)
def test_a_tree_is_killed_and_only_the_process_that_was_meant(parent: tuple[subprocess.Popen[str], int]) -> None:
    process, child = parent
    started = started_at(process.pid)
    assert started is not None
    assert child in descendants(process.pid)
    assert not kill_tree(process.pid, started + 1)
    assert started_at(process.pid) == started
    os.kill(process.pid, signal.SIGSTOP)  # as an engine that hangs
    assert kill_tree(process.pid, started)
    process.wait(20)
    wait_until_gone(child)
    assert not kill_tree(process.pid, started)


@pytest.mark.parametrize("parent", ["exit"], indirect=True)
def test_a_process_takes_its_children_with_it(parent: tuple[subprocess.Popen[str], int]) -> None:
    process, child = parent
    process.communicate("\n", timeout=20)
    assert process.returncode == 3
    wait_until_gone(child)


@pytest.mark.parametrize("parent", ["reaped"], indirect=True)
def test_children_of_a_process_that_is_killed_are_reaped(parent: tuple[subprocess.Popen[str], int]) -> None:
    process, child = parent
    (reaper,) = [one for one in psutil.Process(process.pid).children() if one.pid != child]
    time.sleep(1.5)  # it looks once a second
    process.kill()
    process.wait()
    wait_until_gone(child)
    wait_until_gone(reaper.pid)
