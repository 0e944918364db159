"""Processes that list a big bucket beside this one: what a page costs is the CPU time of reading its XML.

Runs as `python -m fakescan.sources.listers.list_process FD`, where FD is a socket to the process that started it.
"""

import contextlib
import itertools
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, Self

import pyarrow as pa

from fakescan.sources.listers.stretch import Stretch, list_stretch
from fakescan.storage.s3.listing import object_page
from fakescan.storage.store import Store
from fakescan.storage.url import split_bucket

logger = logging.getLogger(__name__)

MANY_PAGES = 500
"""Pages after which a listing is big enough for further processes."""

MAX_PROCESSES = 4
"""More would list faster than a manifest is written."""

_PAGES = 8
"""Pages in one answer of a process."""

_ANSWER_S = 240.0
"""Longer than the client's own time-outs and retries last: a process that is silent for so long is given up."""

_END_S = 5.0


class _Task(NamedTuple):
    number: int
    prefix: str
    arguments: dict[str, str]
    end: str | None
    limit: dict[str, int]


class ListProcesses:
    """Processes for the listing of one bucket, started once it proves big. Threads share them."""

    def __init__(self, store: Store, url: str, *, most: int | None = None) -> None:
        self._store, self._url = store, url
        self._most = min(MAX_PROCESSES, _cores() - 1) if most is None else most
        self._pages = 0
        self._lock = threading.Lock()
        self._processes: list[_Process] | None = None

    def count(self, pages: int) -> None:
        """Pages were listed; starts the processes when there were many."""
        with self._lock:
            self._pages += pages
            if self._processes is None and self._pages >= MANY_PAGES and self._most > 0:
                self._processes = [_Process(self._store, self._url) for _ in range(self._most)]

    def list_stretch(
        self, prefix: str, arguments: dict[str, str], end: str | None, limit: dict[str, int]
    ) -> Stretch | None:
        """Some pages from another process; None where there is none, or it did not get them."""
        with self._lock:
            ready = [process for process in self._processes or () if process.is_ready]
            if not ready:
                return None
            process = min(ready, key=lambda one: one.tasks)
            future = process.submit(prefix, arguments, end, limit)
        try:
            return future.result(_ANSWER_S)
        except TimeoutError:
            process.kill()
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            processes, self._processes, self._most = self._processes or [], [], 0
        for process in processes:
            process.close()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Process:
    """One process, seen from the one that started it."""

    def __init__(self, store: Store, url: str) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "fakescan.sources.listers.list_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what it cannot do this process does, and says why it fails
                env=environment,
                start_new_session=True,  # ends when this process does, not by the Ctrl-C that this one sees
            )
        self._connection: Connection[Any, Any] = Connection(ours.detach())
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._futures: dict[int, Future[Stretch | None]] = {}
        self._numbers = itertools.count()
        self.is_ready = False
        self._receiver = threading.Thread(target=self._receive, args=((store, url),), daemon=True)
        self._receiver.start()

    @property
    def tasks(self) -> int:
        """Tasks that it has not answered."""
        return len(self._futures)

    def submit(
        self, prefix: str, arguments: dict[str, str], end: str | None, limit: dict[str, int]
    ) -> "Future[Stretch | None]":
        """Have it list some pages."""
        future: Future[Stretch | None] = Future()
        number = next(self._numbers)
        with self._lock:
            self._futures[number] = future
        try:
            with self._sending:
                self._connection.send(_Task(number, prefix, arguments, end, limit))
        except (OSError, ValueError):
            self._give_up()
        return future

    def _receive(self, settings: tuple[Store, str]) -> None:
        try:
            self._connection.send(settings)
            while True:
                answer = self._connection.recv()
                if answer is None:
                    self.is_ready = True
                    continue
                number, stretch = answer
                with self._lock:
                    future = self._futures.pop(number, None)
                if future is not None:
                    future.set_result(None if stretch is None else _unpacked(stretch))
        except (OSError, EOFError, ValueError, pickle.PickleError, pa.ArrowException) as error:
            logger.info("a process that lists ended: %r", error)
        finally:
            self._give_up()

    def _give_up(self) -> None:
        self.is_ready = False
        with self._lock:
            futures, self._futures = self._futures, {}
        for future in futures.values():
            future.set_result(None)

    def kill(self) -> None:
        """End it at once; what it was asked for is answered with nothing."""
        self._child.kill()
        self._give_up()

    def close(self) -> None:
        """End it, at once when it does not do so itself."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as ours:
            ours.shutdown(socket.SHUT_RDWR)
        try:
            self._child.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._receiver.join(_END_S)
        self._connection.close()


def _packed(stretch: Stretch) -> Stretch:
    """The stretch with its table as bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, stretch.table.schema) as writer:
        writer.write_table(stretch.table)
    return stretch._replace(table=sink.getvalue().to_pybytes())


def _unpacked(stretch: Stretch) -> Stretch:
    return stretch._replace(table=pa.ipc.open_stream(stretch.table).read_all())


def main(descriptor: int) -> None:
    """Answer tasks until the other side closes the connection. What fails is answered with nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()
    connection: Connection[Any, Any] = Connection(descriptor)
    store, url = connection.recv()
    filesystem, _ = store.filesystem(url)
    bucket = split_bucket(url)[0]
    base = f"{url.partition('://')[0]}://{bucket}/"
    sending = threading.Lock()

    def work(task: _Task) -> None:
        def ask(arguments: dict[str, str]) -> Any:
            return object_page(filesystem, Bucket=bucket, Prefix=task.prefix, **task.limit, **arguments)

        stretch: Stretch | None = None
        with contextlib.suppress(Exception):
            stretch = _packed(list_stretch(ask, base, task.arguments, task.end, _PAGES))
        with sending, contextlib.suppress(OSError):
            connection.send((task.number, stretch))

    pool = ThreadPoolExecutor(16)
    with contextlib.suppress(EOFError, OSError):
        connection.send(None)
        while True:
            pool.submit(work, connection.recv())
    os._exit(0)  # without waiting for requests that nobody waits for


if __name__ == "__main__":
    main(int(sys.argv[1]))
