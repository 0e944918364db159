"""A terminal that a test looks at."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
import threading
from typing import TextIO

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A pseudo-terminal of so many columns. `stream` writes to it; what it has received is kept as it came."""

    def __init__(self, columns: int, rows: int = 24) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.stream: TextIO = os.fdopen(theirs, "w", buffering=1, encoding="utf-8")
        self._received = bytearray()
        self._reader = threading.Thread(target=self._receive, daemon=True)
        self._reader.start()

    def _receive(self) -> None:
        with contextlib.suppress(OSError):  # EIO is a terminal's end of file
            while piece := os.read(self._ours, 65536):
                self._received += piece

    def read(self) -> str:
        """Everything, as it came; the terminal is closed."""
        if not self.stream.closed:
            self.stream.close()
        self._reader.join(10)
        return self._received.decode()

    def lines(self) -> list[str]:
        """Everything in lines, also what was written over, without control sequences and empty lines."""
        return [line for line in re.split(r"[\r\n]+", _CONTROL.sub("", self.read())) if line]

    def close(self) -> None:
        """Let go of it."""
        self.read()
        with contextlib.suppress(OSError):
            os.close(self._ours)
