"""Ends processes with all that they have started, and sees to it that nothing an engine has started outlives it.

Also a program, which `reap_after` starts: it imports nothing but the standard library.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import NoReturn

_POLL_S = 1.0


def started_at(pid: int) -> int | None:
    """When a process was started, in clock ticks since the machine was; None when there is none of this id."""
    fields = _status(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def descendants(pid: int) -> list[int]:
    """Ids of all processes below one, parents before children."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _status(int(name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found[1:]


def kill_tree(pid: int, started: int | None = None) -> bool:
    """Kill a process and all below it; False when there is none of this id, or it was not started then."""
    there = started_at(pid)
    if there is None or (started is not None and there != started):
        return False
    for one in [*descendants(pid), pid]:
        _kill(one)
    return True


def exit_with_children(status: int = 1) -> NoReturn:
    """End this process at once and without clean-up, and before it all that it has started."""
    for one in descendants(os.getpid()):
        _kill(one)
    os._exit(status)


def reap_after() -> int:
    """Start a process that kills what this one has started as soon as this one is gone; its id.

    An engine's own process does not notice when the process that started it is killed: it would keep the GPU.
    """
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True).pid


def _reap(parent: int) -> None:
    below: dict[int, int | None] = {}
    while os.getppid() == parent:
        below = {pid: started_at(pid) for pid in descendants(parent)}
        time.sleep(_POLL_S)
    for pid, started in below.items():
        if pid != os.getpid() and started is not None:
            kill_tree(pid, started)


def _status(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third on; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the program's name in brackets, which may hold spaces and brackets.
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _reap(int(sys.argv[1]))
