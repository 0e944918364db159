"""The lease keeps a second writer out of a run, and is taken over when its holder is gone."""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem

from fakescan.errors import JobFailedError
from fakescan.storage.objects import put_atomic, read_bytes
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

LEASE_S = 30.0
"""A lease whose heartbeat has not moved for this many seconds is stale."""

_RELEASE_S = 5.0
"""How long the end of a job waits for a store that is away, to remove its lease from it, in seconds."""


class LeaseLostError(JobFailedError):
    """Another process has taken the run over."""


class LeasedJob(NamedTuple):
    """The kind of job that holds a lease, for its messages."""

    setting: str
    """The setting that names the run."""
    name: str
    way_out: str


SCAN = LeasedJob("output", "scan", "wait for it, or take over with --break-lease")
TRAINING = LeasedJob("name", "training", "wait for it, or use another name")


class Lease:
    """An object in the run folder that names the one writer and counts its heartbeats.

    Staleness is judged by watching the counter for `lease_s`, not by comparing clocks of two machines. A holder on this
    machine whose process has ended is gone at once.
    """

    def __init__(self, fs: AbstractFileSystem, path: str, job: LeasedJob = SCAN, *, lease_s: float = LEASE_S) -> None:
        self._fs = fs
        self._path = path
        self._job = job
        self._lease_s = lease_s
        self._owner = uuid.uuid4().hex
        self._beat = 0
        self._lost = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, *, force: bool = False, say: Callable[[str], None] = logger.warning) -> None:
        """Take the lease. Raises UserError when a live process holds it; `force` takes it all the same."""
        try:
            put_atomic(self._fs, self._path, self._content(), exclusive=True)
        except FileExistsError:
            self._take_over(force, say)
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LeaseLostError once somebody else holds the lease."""
        if self._lost.is_set():
            raise LeaseLostError(f"another {self._job.name} has taken this run over; this one stops")

    def release(self) -> None:
        """Stop the heartbeat and remove the lease if it is still ours."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=self._lease_s)
        try:
            if _content_of(self._fs, self._path, patience_s=_RELEASE_S).get("owner") == self._owner:
                self._fs.rm_file(self._path)
        except OSError as error:
            logger.warning("the lease could not be removed, it becomes stale by itself: %s", error)

    def _content(self) -> bytes:
        holder = {"owner": self._owner, "beat": self._beat, **_this_process()}
        return json.dumps(holder, indent=1).encode()

    def _read(self) -> dict[str, Any]:
        return _content_of(self._fs, self._path)

    def _take_over(self, force: bool, say: Callable[[str], None]) -> None:
        holder = self._read()
        if not force and holder and not _is_gone(holder):
            say(f"the run is held by {_name(holder)}; watching for up to {self._lease_s:.0f} s whether it is alive")
            deadline = time.monotonic() + self._lease_s
            while time.monotonic() < deadline:
                time.sleep(min(1.0, self._lease_s / 10))
                seen = self._read()
                if not seen or _is_gone(seen):
                    break
                if (seen.get("owner"), seen.get("beat")) != (holder.get("owner"), holder.get("beat")):
                    raise UserError(
                        f"{self._job.setting}: another {self._job.name} is writing this run ({_name(seen)}); "
                        f"{self._job.way_out}"
                    )
        put_atomic(self._fs, self._path, self._content())

    def _keep(self) -> None:
        while not self._closing.wait(self._lease_s / 5):
            try:
                holder = self._read()
                if holder and holder.get("owner") != self._owner:
                    self._lost.set()
                    return
                self._beat += 1
                put_atomic(self._fs, self._path, self._content())
            except OSError as error:
                # The results stay right without a lease, so a store that is away must not end the job.
                logger.warning("the lease could not be renewed: %s", error)


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_time(os.getpid())}


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"


def _start_time(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None if there is no such process or no /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    # Field 3 is the state (a zombie is as good as gone), field 22 the start time.
    return None if fields[0] in "ZX" else fields[19]


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    if holder.get("host") != socket.gethostname() or not holder.get("started"):
        return False
    return _start_time(int(holder["pid"])) != str(holder["started"])


def holder_of(fs: AbstractFileSystem, path: str) -> str | None:
    """The process that a lease names, in words; None where there is no lease or its process is known to have ended.

    A lease whose process is on another machine may be stale: only watching its heartbeat tells.
    """
    holder = _content_of(fs, path)
    return None if not holder or _is_gone(holder) else _name(holder)


def _content_of(fs: AbstractFileSystem, path: str, *, patience_s: float | None = None) -> dict[str, Any]:
    try:
        found = json.loads(read_bytes(fs, path, patience_s=patience_s))
    except FileNotFoundError:
        return {}
    except ValueError:
        return {"owner": "unreadable"}
    return found if isinstance(found, dict) else {"owner": "unreadable"}
