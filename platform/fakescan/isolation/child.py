"""A child process that does work which may end it: its parent learns how it ended, and starts another one.

with Child(work, limits) as child:
    outcome = alone(child, item)  # the result of `work(item)`, or a `Death`
"""

import logging
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Generic, Self

from fakescan.isolation import child_program
from fakescan.isolation.memory import GIB, machine_memory, resident_bytes
from fakescan.isolation.time_limit import Item, Result

logger = logging.getLogger(__name__)

IMAGE_DEATHS = 2
"""Solitary deaths after which an image is poison: an out-of-memory kill and a `kill -9` look the same from outside."""

TIMEOUT_S = 120.0
"""For how long one image may be worked on, unless told otherwise."""
BYTES_PER_PIXEL = 40
"""Memory that decoding may take for each pixel. The hungriest sound files that we know take 19, PNGs."""
COPIES = 4
"""Of a file's bytes, that fetching and decoding may hold at once."""
PROCESS_BYTES = GIB // 2
"""Memory of the process itself."""

_SHARE = 0.75
"""The largest share of a machine's memory that a child may take."""
_RESERVE = 0.08
"""The share of a machine's memory that a large child must leave: at 0.05 Ray starts to kill its own workers."""
_LARGE = GIB
"""What is smaller is not why a machine runs out of memory."""
_POLL_S = 0.02
_START_S = 120.0
"""For how long a child may take to start, or to hand over its result."""
_STARTS = 3
_KILL_S = 10.0


@dataclass(frozen=True)
class WorkLimits:
    """What the work on one image may take."""

    timeout_s: float = TIMEOUT_S
    memory_bytes: int = 5 * GIB

    @classmethod
    def of(cls, timeout_s: float, memory_gib: float | None, *, max_pixels: int, max_bytes: int) -> Self:
        """Limits for images of up to so many pixels and bytes; `memory_gib` None: what the largest may need."""
        needed = BYTES_PER_PIXEL * max_pixels + COPIES * max_bytes + PROCESS_BYTES
        return cls(timeout_s, needed if memory_gib is None else int(memory_gib * GIB))


USUAL_LIMITS = WorkLimits()


@dataclass(frozen=True)
class Death:
    """How a child process ended while it had one thing to do."""

    how: str
    """A clause, such as `its process was killed by signal 11 (SIGSEGV)`."""
    is_timeout: bool = False

    def message(self, what: str) -> str:
        """Why an image is poison on which `what` was done, such as `decoding`."""
        return f"{what} this image alone failed {_TIMES.get(IMAGE_DEATHS, f'{IMAGE_DEATHS} times')}: {self.how}"


_TIMES = {1: "once", 2: "twice"}


class ChildStartError(RuntimeError):
    """The child process cannot be started, which is no fault of what it was to do."""


class Child(Generic[Item, Result]):
    """Does `work(item)` in a process of its own; the work must pickle, and its items and results.

    The process is started when it is first needed, and again after it has ended. It is a new Python, not a fork of this
    process, whose threads, locks and sockets would be lost or shared in it. It is killed as soon as it takes more
    memory than its limit, three quarters of the machine's, or nearly the last that there is; when a `time_limit` within
    the work ends; and when this process dies. Errors that the work raises are raised here. With `show`, what
    libraries in it print appears on stderr. Not for several threads.
    """

    def __init__(self, work: Callable[[Item], Result], limits: WorkLimits, *, show: bool = True) -> None:
        self._work, self._show = work, show
        self._memory_bytes = limits.memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._end: Callable[[], object] = lambda: None
        self._deadline = math.inf
        self._limit_s = 0.0
        self._killed: Death | None = None
        """Why we have killed it."""
        self._is_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process, if there is none, without waiting for it."""
        if self._process is not None and not _has_ended(self._process):
            return
        self.close()
        ours, theirs = Pipe()
        with theirs:
            output = None if self._show else subprocess.DEVNULL
            # -P: a `numpy.py` in the current folder is not numpy.
            command = [sys.executable, "-P", "-m", child_program.__name__, str(os.getpid()), str(theirs.fileno())]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a group of its own, to be killed with all that it has started
            )
        self._connection = ours
        self._end = weakref.finalize(self, _end, self._process, ours)
        with suppress(OSError):  # it has ended already; `do` finds out
            ours.send_bytes(pickle.dumps(self._work))

    def do(self, item: Item) -> Result | Death:
        """The result of the work on one item, or how the process ended over it. Raises what the work raises."""
        self._wait_until_ready()
        assert self._connection is not None
        with _Watch(self):
            try:
                self._connection.send_bytes(pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL))
                kind, body = self._next()
            except (EOFError, OSError):
                kind, body = b"", b""
            except BaseException:
                self.close()  # an answer that comes later would be taken for that of the next item
                raise
        if not kind:
            return self._bury()
        if self._killed is not None:  # it was ready in the last moment
            self.close()
        if kind == child_program.OUT_OF_MEMORY:
            self.close()  # nobody knows what it has lost
            return Death("it ran out of memory")
        result: Any = pickle.loads(body)
        if kind == child_program.ERROR:
            raise result
        answer: Result = result
        return answer

    def close(self) -> None:
        """Kill the process, if there is one."""
        self._end()
        self._process = self._connection = None
        self._killed = None
        self._is_ready = False

    def _wait_until_ready(self) -> None:
        for _ in range(_STARTS):
            self.start()
            if self._is_ready:
                return
            with _Watch(self), suppress(EOFError, OSError):
                self._is_ready = self._next()[0] == child_program.READY
            if self._is_ready:
                return
            how = self._bury().how
        raise ChildStartError(f"no process can be started to work on one image at a time: {how}")

    def _next(self) -> tuple[bytes, bytes]:
        """The next message that is no alarm; alarms are set meanwhile."""
        assert self._connection is not None
        while True:
            message = self._connection.recv_bytes()
            kind, body = message[:1], message[1:]
            if kind != child_program.ALARM:
                return kind, body
            (seconds,) = child_program.SECONDS.unpack(body)
            self._limit_s = seconds if 0 < seconds < math.inf else self._limit_s
            self._deadline = time.monotonic() + (seconds or _START_S)

    def _kill(self, why: Death) -> None:
        """Called by the watch."""
        self._killed = why
        if self._process is not None and self._connection is not None:
            _kill_group(self._process)
            # Whoever waits for an answer goes on, also where the process hangs in the kernel and cannot die.
            with socket.socket(fileno=os.dup(self._connection.fileno())) as pipe, suppress(OSError):
                pipe.shutdown(socket.SHUT_RDWR)

    def _bury(self) -> Death:
        """How the process ended; it is gone afterwards."""
        process, killed = self._process, self._killed
        assert process is not None
        deadline = time.monotonic() + _KILL_S
        while not _has_ended(process) and time.monotonic() < deadline:
            time.sleep(_POLL_S / 10)  # its end of the pipe is closed a moment before it is gone
        ended = _has_ended(process)
        self.close()
        status = process.returncode if ended else None
        if killed is not None:
            return killed
        if status is None:
            return Death("its process closed its pipe and went on")
        if status >= 0:
            return Death(f"its process ended with exit status {status}")
        name = next((f" ({one.name})" for one in signal.Signals if one == -status), "")
        hint = ", as the system does when memory runs out" if status == -signal.SIGKILL else ""
        return Death(f"its process was killed by signal {-status}{name}{hint}")


def alone(child: Child[Item, Result], item: Item) -> Result | Death:
    """The result of a child's work on one image, or how it ended, if that happened as often as makes it poison."""
    for _ in range(IMAGE_DEATHS):
        outcome = child.do(item)
        if not isinstance(outcome, Death):
            break
        logger.info("the work on one image failed: %s", outcome.how)
    return outcome


class _Watch:
    """Kills a child that is over a limit while something is waited for, from a thread: to wait blocks this one."""

    def __init__(self, child: Child[Any, Any]) -> None:
        self._child = child
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fakescan-watch", daemon=True)

    def __enter__(self) -> None:
        self._child._deadline = time.monotonic() + _START_S
        self._child._limit_s = _START_S
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        child, process = self._child, self._child._process
        assert process is not None
        limit = min(child._memory_bytes, int(_SHARE * machine_memory().total))
        while not self._done.wait(_POLL_S):
            if _has_ended(process):
                _kill_group(process)  # what it has started may hold its end of the pipe open
                return
            if time.monotonic() > child._deadline:
                child._kill(Death(f"it did not end within {child._limit_s:g} s", is_timeout=True))
                return
            taken = resident_bytes(process.pid)
            if taken > limit:
                child._kill(Death(f"it took more than {limit / GIB:.3g} GiB of memory"))
                return
            if taken > _LARGE:
                memory = machine_memory()
                if memory.available < _RESERVE * memory.total:
                    child._kill(Death(f"it took {taken / GIB:.3g} GiB of memory, and the machine had no more"))
                    return


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Without asking for its exit status: as long as nobody does, its number is no other process's."""
    if process.returncode is not None:
        return True
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody has asked, for all children of this process
        process.poll()
        return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], connection: "Connection[Any, Any]") -> None:
    _kill_group(process)
    connection.close()
    try:
        process.wait(_KILL_S)
    except subprocess.TimeoutExpired:  # it hangs in the kernel, on a mount that is gone; nothing can end it
        logger.warning("process %d cannot be killed", process.pid)
