"""Makes a line of JSON of each line that a command and its libraries write to stderr. A program: see `output`.

It is a process of its own: a thread of the command could not read what C code writes while it holds the interpreter,
nor the last words of a command that crashes. It imports nothing of this project, so that it starts in a moment.

Two streams come in: whole lines of JSON, which go out as they are, and whatever else is written to stderr, whose lines
are wrapped. A line of the first stream that begins with `=` has the fields that the wrapped ones get.
"""

import json
import os
import re
import select
import signal
import sys
import time
from typing import Any

_MAX_LINE = 64 * 1024
"""Bytes after which a line without an end is wrapped as it is."""
_PIECE = 64 * 1024
_BREAK = re.compile(rb"[\r\n]+")
_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_KEPT = ("time", "level", "logger", "message")


def wrapped(raw: bytes, fields: dict[str, Any]) -> dict[str, Any] | None:
    """The object for a line; None for an empty one. A line that is such an object already gets what it lacks."""
    text = _COLOUR.sub("", raw.decode(errors="backslashreplace")).rstrip()
    if not text:
        return None
    seconds = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}+00:00"
    line: dict[str, Any] = {"time": moment, "level": "INFO", "logger": "stderr", "message": text}
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and all(isinstance(found.get(name), str) for name in _KEPT):
            line |= found
    return {**line, **{name: value for name, value in fields.items() if name not in line}, "via": "stderr"}


class _Wrapper:
    def __init__(self, raw: int, own: int, fields: dict[str, Any]) -> None:
        self._raw, self._own, self._fields = raw, own, fields
        self._pending = {raw: b"", own: b""}
        self._is_read = True

    def run(self) -> None:
        """Until the command has closed its own stream, and all that came before is out."""
        poll = select.poll()
        for stream in (self._raw, self._own):
            poll.register(stream, select.POLLIN)
        open_streams = {self._raw, self._own}
        while self._own in open_streams:
            # Its own stream first: the fields in it are those of what was printed after them.
            for stream in sorted((stream for stream, _ in poll.poll()), key=self._own.__ne__):
                if not self._take(stream):
                    poll.unregister(stream)
                    open_streams.discard(stream)
        if self._raw in open_streams:
            while poll.poll(0) and self._take(self._raw):
                pass
        self._finish()

    def _take(self, stream: int) -> bool:
        data = os.read(stream, _PIECE)
        if not data:
            return False
        self._pending[stream] += data
        (self._pass_on if stream == self._own else self._wrap)()
        return True

    def _pass_on(self) -> None:
        *lines, self._pending[self._own] = self._pending[self._own].split(b"\n")
        out = b""
        for line in lines:
            if line.startswith(b"="):
                self._write(out)
                out = b""
                self._fields = json.loads(line[1:])
            else:
                out += line + b"\n"
        self._write(out)

    def _wrap(self) -> None:
        *lines, rest = _BREAK.split(self._pending[self._raw])
        if len(rest) > _MAX_LINE:
            lines.append(rest)
            rest = b""
        self._pending[self._raw] = rest
        self._write(b"".join(map(self._line, lines)))

    def _finish(self) -> None:
        self._write(self._line(self._pending[self._raw]))

    def _line(self, raw: bytes) -> bytes:
        found = wrapped(raw, self._fields)
        return b"" if found is None else json.dumps(found, default=str).encode() + b"\n"

    def _write(self, data: bytes) -> None:
        while data and self._is_read:
            try:
                data = data[os.write(1, data) :]
            except BlockingIOError:
                select.select([], [1], [])
            except OSError:  # nobody reads it any more; the command must not wait for that
                self._is_read = False


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # it ends with the command, whose last line comes after these
    _Wrapper(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])).run()
