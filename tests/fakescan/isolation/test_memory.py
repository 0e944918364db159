"""Memory: what this machine has, and what a process takes."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fakescan.isolation import memory
from fakescan.isolation.memory import machine_memory, resident_bytes

pytestmark = pytest.mark.unit


def test_the_machine_has_memory() -> None:
    there = machine_memory()
    assert 0 < there.available < there.total <= psutil.virtual_memory().total


def test_a_process_takes_what_it_writes_to() -> None:
    program = "data = bytearray(b'x') * 200_000_000\nprint('ready', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 200_000_000 < resident_bytes(process.pid) < 300_000_000
        process.kill()
    assert resident_bytes(process.pid) == 0
    assert resident_bytes(os.getpid()) > 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_has_less_than_its_machine(version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a control group as kernels write them, in a folder instead of /sys/fs/cgroup."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    groups = [line.split(":", 2) for line in lines]
    if version == 1:
        path = next((path for _, names, path in groups if "memory" in names.split(",")), None)
        base, names = tmp_path / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    else:
        path = next((path for _, names, path in groups if not names), None)
        base, names = tmp_path, ("memory.max", "memory.current", "inactive_file")
    if path is None:
        pytest.skip(f"this machine has no control groups of version {version}")
    group = base / path.strip("/")
    group.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names[:2], ("3000000", "1500000"), strict=True):
        (group / name).write_text(text)
    (group / "memory.stat").write_text(f"anon 7\n{names[2]} 500000\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    assert machine_memory() == (3_000_000, 2_000_000)
    (group / names[0]).write_text("max\n")
    assert machine_memory().total > 3_000_000
