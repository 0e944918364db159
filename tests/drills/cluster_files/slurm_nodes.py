#!/usr/bin/env python
"""Stands in for `srun` and `scontrol`: nodes that have nothing in common but the disks, each a network of its own.

    srun --nodes=2 --ntasks-per-node=1 ... COMMAND    # a copy of COMMAND on each node, less MISSING_NODES
    scontrol requeue 4711                             # as SLURM does it: kill -9 of the job's step

Each is a link to this file.

The first node is where this runs: a network namespace in which this user is root (`unshare --user --map-root-user
--net`). Node I has the address 10.77.0.I, its own loopback, and with FAKESCAN_NODE_TMP/I a disk of its own.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

NETWORK = "10.77.0"


def scontrol(words: list[str]) -> int:
    assert words == ["requeue", os.environ["SLURM_JOB_ID"]]
    for pid in _pids_file().read_text().split():
        os.killpg(int(pid), signal.SIGKILL)
    return 0


def srun(words: list[str]) -> int:
    options: dict[str, str] = {}
    while words[0].startswith("--"):
        name, _, value = words.pop(0).partition("=")
        options[name] = value
    os.environ["SLURM_CPUS_PER_TASK"] = options["--cpus-per-task"]
    steps: list[subprocess.Popen[bytes]] = []
    machines: list[subprocess.Popen[bytes]] = []
    for number in range(1, int(options["--nodes"]) - int(os.environ["MISSING_NODES"]) + 1):
        disk = Path(os.environ["FAKESCAN_NODE_TMP"]) / str(number)
        disk.mkdir(exist_ok=True)
        environment = {**os.environ, "SLURM_NODEID": str(number - 1), "FAKESCAN_NODE_TMP": str(disk)}
        enter = [] if number == 1 else _machine(number, machines)
        steps.append(subprocess.Popen([*enter, *words], env=environment, start_new_session=True))
    _pids_file().write_text(" ".join(str(step.pid) for step in steps))
    ended = max(abs(step.wait()) for step in steps)
    for machine in machines:
        machine.kill()
    return ended


def _pids_file() -> Path:
    return Path(os.environ["FAKESCAN_NODE_TMP"]) / "pids"


def first_machine() -> None:
    """A network with one machine in it."""
    _ip("link set lo up")
    _ip("link add bridge type bridge")
    _ip(f"address add {NETWORK}.1/24 dev bridge")
    _ip("link set bridge up")
    _ip("route add default dev bridge")


def _machine(number: int, machines: list[subprocess.Popen[bytes]]) -> list[str]:
    """One more machine, until its process is killed; returns the words that run a command on it."""
    keeper = subprocess.Popen(["unshare", "--net", "bash", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
    machines.append(keeper)
    assert keeper.stdout is not None
    keeper.stdout.readline()  # it is in its own network
    enter = ["nsenter", f"--net=/proc/{keeper.pid}/ns/net"]
    _ip(f"link add out{number} type veth peer name in{number}")
    _ip(f"link set out{number} master bridge up")
    _ip(f"link set in{number} netns {keeper.pid}")
    for words in (
        "link set lo up",
        f"address add {NETWORK}.{number}/24 dev in{number}",
        f"link set in{number} up",
        f"route add default via {NETWORK}.1",
    ):
        _ip(words, enter)
    return enter


def _ip(words: str, enter: list[str] | None = None) -> None:
    subprocess.run([*(enter or []), "ip", *words.split()], check=True)


if __name__ == "__main__":
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    if name == "srun":
        sys.exit(srun(words))
    if name == "scontrol":
        sys.exit(scontrol(words))
    first_machine()
    os.execvp(words[0], words)
