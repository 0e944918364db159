"""What a child process runs: does one piece of work after the other until its parent is gone. See `child`."""

import ctypes
import os
import pickle
import resource
import signal
import struct
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from fakescan.isolation.time_limit import use_alarm

READY, ALARM, RESULT, ERROR, OUT_OF_MEMORY = b"r", b"a", b"d", b"e", b"m"
"""First byte of a message to the parent; behind an alarm come its seconds, a double, behind the next two a pickle."""

SECONDS = struct.Struct("d")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def main(parent: int, descriptor: int) -> None:
    """Read what is to be done, a callable, and then items for it."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # if memory runs out in spite of our limits, the kernel is to take this process
        Path("/proc/self/oom_score_adj").write_text("1000")
    connection: Connection[bytes, bytes] = Connection(descriptor)
    lock = threading.Lock()

    def send(kind: bytes, body: bytes = b"") -> None:
        with lock:
            connection.send_bytes(kind + body)

    def alarm(seconds: float) -> float:
        send(ALARM, SECONDS.pack(seconds))
        return 0.0

    use_alarm(alarm)
    with suppress(EOFError, OSError):  # the parent is gone
        work = pickle.loads(connection.recv_bytes())
        send(READY)
        while True:
            item = pickle.loads(connection.recv_bytes())
            try:
                result = pickle.dumps(work(item), protocol=pickle.HIGHEST_PROTOCOL)
            except MemoryError:
                send(OUT_OF_MEMORY)
            except Exception as error:  # noqa: BLE001 - for the parent to raise
                send(ERROR, _pickled(error))
            else:
                send(RESULT, result)


def _pickled(error: Exception) -> bytes:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:  # noqa: BLE001 - not every exception can be pickled, and of some only the way back fails
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return data


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
