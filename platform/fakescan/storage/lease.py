"""The lease keeps a second writer out of a run, and is taken over when its holder is gone."""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem

from fakescan.errors import JobFailedError
from fakescan.storage.conditional_put import ReplacedError, Versioned, read_version, remove, replace
from fakescan.storage.errors import classify, is_transient
from fakescan.storage.objects import patiently, put_atomic, read_bytes
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

LEASE_S = 30.0
"""A lease whose heartbeat has not moved for this many seconds is stale."""
_PATIENCE = 60
"""For how many times as long a holder waits for a store in which it cannot renew its lease: half an hour."""

_RELEASE_S = 5.0
"""How long the end of a job waits for a store that is away, to remove its lease from it, in seconds."""


_NOBODY = "unreadable"
"""Owner of what is no lease. SeaweedFS, for one, makes an empty object of a PUT whose sender has hung up."""


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
    machine whose process has ended is gone at once. Of several that want to take a stale lease over, one does: see
    `fakescan.storage.conditional_put` for what each store makes of that.
    """

    def __init__(self, fs: AbstractFileSystem, path: str, job: LeasedJob = SCAN, *, lease_s: float = LEASE_S) -> None:
        self._fs = fs
        self._path = path
        self._job = job
        self._lease_s = lease_s
        self._owner = uuid.uuid4().hex
        self._beat = 0
        self._version: str | None = None
        self._renewed = time.monotonic()
        """When the last renewal that succeeded was sent: nobody takes over before `lease_s` have gone by."""
        self._is_lost = False
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def owner(self) -> str:
        """What names this holder in the object, for `is_held_by`."""
        return self._owner

    def acquire(self, *, force: bool = False, wait: bool = False, say: Callable[[str], None] = logger.warning) -> None:
        """Take the lease. Raises UserError when a live process holds it.

        `force` takes it all the same, and `wait` waits until it is given back.
        """
        self._renewed = time.monotonic()
        if not self._create():
            self._take_over(force, wait, say)
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def is_lost(self) -> bool:
        """Whether somebody else is known to hold the lease; False also where it cannot be told, and never waits."""
        return self._is_lost

    @property
    def is_sure(self) -> bool:
        """Whether nobody can have taken the lease over yet; never waits."""
        return not self._is_lost and self._is_sure()

    def check(self) -> None:
        """Raise LeaseLostError once somebody else holds the lease.

        A lease that could not be renewed for as long as it lives may be somebody else's: then it waits for the store,
        and goes on or stops with what the store says.
        """
        patience_s = _PATIENCE * self._lease_s
        with self._changed:
            if not self._is_lost and not self._is_sure():
                logger.warning("waiting for the store: the run's lease could not be renewed for %.0f s", self._age())
                self._changed.wait_for(lambda: self._is_lost or self._is_sure(), timeout=patience_s)
            if self._is_lost:
                raise LeaseLostError(f"another {self._job.name} has taken this run over; this one stops")
            if not self._is_sure():
                raise LeaseLostError(
                    f"the run's lease could not be renewed for {self._age() / 60:.0f} minutes, and another "
                    f"{self._job.name} may have taken the run over; the same command resumes it"
                )

    def release(self) -> None:
        """Stop the heartbeat and remove the lease if it is still ours."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=self._lease_s)
        try:
            remove(self._fs, self._path, lambda data: _content(data).get("owner") == self._owner)
        except Exception as error:  # noqa: BLE001 - the stores' libraries share no base class
            logger.warning("the lease could not be removed, it becomes stale by itself: %s", classify(error)[1])

    def _age(self) -> float:
        return time.monotonic() - self._renewed

    def _is_sure(self) -> bool:
        """Whether nobody can have taken the lease over yet."""
        return self._age() < self._lease_s

    def _content(self) -> bytes:
        holder = {"owner": self._owner, "beat": self._beat, **_this_process()}
        return json.dumps(holder, indent=1).encode()

    def _create(self) -> bool:
        """Write the lease where there is none."""
        try:
            put_atomic(self._fs, self._path, self._content(), exclusive=True)
        except FileExistsError:
            return False
        self._version = None
        return True

    def _read(self) -> Versioned | None:
        return patiently(lambda: read_version(self._fs, self._path), "reading the run's lease")

    def _take_over(self, force: bool, wait: bool, say: Callable[[str], None]) -> None:
        first: dict[str, Any] | None = None
        since = 0.0
        has_said = False
        while True:
            seen = self._read()
            if seen is None:  # given back
                if self._create():
                    return
                continue
            holder = _content(seen.data)
            if holder.get("owner") == self._owner:  # the answer to our own request got lost
                self._version = seen.version
                return
            if first is None or (wait and _pulse(holder) != _pulse(first)):
                first, since = holder, time.monotonic()
            has_moved = _pulse(holder) != _pulse(first)
            if force or _is_gone(holder) or (not has_moved and time.monotonic() - since >= self._lease_s):
                if self._replace(seen.version):
                    return
                continue
            if has_moved:
                raise UserError(
                    f"{self._job.setting}: another {self._job.name} is writing this run ({_name(holder)}); "
                    f"{self._job.way_out}"
                )
            if not has_said:
                has_said = True
                say(
                    f"waiting for {_name(holder)}, which prepares the run"
                    if wait
                    else f"the run is held by {_name(holder)}; watching for up to {self._lease_s:.0f} s whether it is "
                    "alive"
                )
            time.sleep(min(1.0, self._lease_s / 10))

    def _replace(self, version: str) -> bool:
        """Write the lease in place of that version; whether it was still there."""
        self._renewed = time.monotonic()
        try:
            self._version = replace(self._fs, self._path, self._content(), version)
        except ReplacedError:
            return False
        except Exception as error:  # the stores' libraries share no base class
            if not is_transient(error):
                raise
            logger.warning("writing the run's lease failed, trying again: %s", classify(error)[1])
            time.sleep(min(1.0, self._lease_s / 10))
            return False
        return True

    def _keep(self) -> None:
        is_away = False
        while not self._closing.wait(self._lease_s / 5):
            sent = time.monotonic()
            try:
                is_ours = self._renew()
            except Exception as error:  # noqa: BLE001 - no error of a store may end the thread, and they share no base
                if not is_away:
                    logger.warning("the lease could not be renewed, trying again: %s", classify(error)[1])
                is_away = True
                continue
            with self._changed:
                is_away, self._renewed, self._is_lost = False, sent, not is_ours
                self._changed.notify_all()
            if not is_ours:
                return

    def _renew(self) -> bool:
        """Count a heartbeat; False when the lease is somebody else's. One request unless something has changed."""
        answer_s = max(self._lease_s / 3, 1.0)  # a request that hangs must not let the lease become stale
        self._beat += 1
        while True:
            if self._version is None:
                seen = read_version(self._fs, self._path, answer_s=answer_s)
                if seen is None:  # deleted by hand
                    if self._create():
                        return True
                    continue
                if _content(seen.data)["owner"] not in (self._owner, _NOBODY):
                    return False
                self._version = seen.version
            try:
                self._version = replace(self._fs, self._path, self._content(), self._version, answer_s=answer_s)
                return True
            except ReplacedError:  # by another holder, or by a request of ours whose answer got lost
                self._version = None


def _pulse(holder: dict[str, Any]) -> tuple[Any, Any]:
    return holder.get("owner"), holder.get("beat")


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": socket.gethostname(), "machine": _pid_space(), "pid": pid, "started": _start_time(pid)}


def _pid_space() -> str | None:
    """Where numbers of processes mean the same as here: this boot of this machine, and this container of it.

    Names of hosts do not say it: copies of a virtual machine have the same one, and so have containers that use the
    network of their host. None if there is no /proc.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


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
    """Whether the holder was a process of this machine, or of this container, that has ended."""
    here = _pid_space()
    if here is None or holder.get("machine") != here or not holder.get("started"):
        return False
    pid = holder.get("pid")
    return isinstance(pid, int) and _start_time(pid) != str(holder["started"])


def is_held_by(fs: AbstractFileSystem, path: str, owner: str) -> bool:
    """Whether the lease is that owner's, for a process that writes in its name; waits for a store that is away.

    The owner itself may be suspended or cut off, and not notice that somebody has taken over.
    """
    try:
        holder = _content(read_bytes(fs, path))
    except FileNotFoundError:  # given back: the owner has ended, or another one has come and gone
        return False
    return holder["owner"] in (owner, _NOBODY)


def holder_of(fs: AbstractFileSystem, path: str) -> str | None:
    """The process that a lease names, in words; None where there is no lease or its process is known to have ended.

    A lease whose process is on another machine may be stale: only watching its heartbeat tells.
    """
    try:
        holder = _content(read_bytes(fs, path))
    except FileNotFoundError:
        return None
    return None if _is_gone(holder) else _name(holder)


def _content(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    return found if isinstance(found, dict) and "owner" in found else {"owner": _NOBODY}
