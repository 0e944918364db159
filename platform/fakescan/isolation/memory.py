"""Memory, in bytes: of this machine or the container that it is, and of a process."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

GIB = 2**30

_CGROUPS = Path("/sys/fs/cgroup")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Memory(NamedTuple):
    """Of a machine or a container."""

    total: int
    available: int
    """What processes may still take before others have to give it back."""


def machine_memory() -> Memory:
    """The memory that this process shares with others: the machine's, or less where a control group has a limit."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    there = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
    total, available = there["MemTotal"], there["MemAvailable"]
    for limit, used in _limits():
        total, available = min(total, limit), min(available, max(limit - used, 0))
    return Memory(total, available)


def resident_bytes(pid: int) -> int:
    """Memory that a process has now; 0 for one that is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0


def _limits() -> Iterator[tuple[int, int]]:
    """Limit and use of each control group that has a limit and that this process is in."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = _CGROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = base / path.strip("/")
        while True:
            with suppress(OSError, ValueError):  # no such file at the root, "max" where there is no limit
                limit, used = (int((group / name).read_text()) for name in names[:2])
                stat = dict(words.split() for words in (group / "memory.stat").read_text().splitlines())
                yield limit, used - int(stat.get(names[2], 0))
            if group == base:
                break
            group = group.parent
