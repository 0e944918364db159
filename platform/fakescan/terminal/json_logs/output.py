"""The process's stderr as lines of JSON: records as they are logged, and a wrapper for whatever else is written there.

A library in C, a process that inherits stderr, the interpreter itself: what they write goes to a pipe, which
`wrapper` reads.
"""

import atexit
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

from fakescan.terminal.json_logs.fields import forget_listener, on_process_fields, process_fields
from fakescan.terminal.json_logs.line_formatter import LineFormatter

VARIABLE = "FAKESCAN_LOG_FORMAT"
"""Environment variable with the format of the logs, for a command without --log-format and for Ray's workers."""

_END_S = 5.0
"""Seconds that the wrapper has at the end to write what it has."""
_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_LEVEL = re.compile(r"(?P<level>warning|error): ", re.IGNORECASE)


class JsonOutput:
    """Where lines go. One for a process; see `start`."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self.redact = redact
        self.formatter = LineFormatter(redact)
        self._lock = threading.Lock()
        self._silent = 0
        self._before = sys.stderr
        self._hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
        self._real = os.dup(2)
        raw, theirs = os.pipe()
        own, self._own = os.pipe()
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("wrapper.py")), str(raw), str(own)]
        self._process = subprocess.Popen(
            [*command, json.dumps(self._said(process_fields()))],
            stdin=subprocess.DEVNULL,
            stdout=self._real,
            pass_fds=[raw, own],
            cwd="/",
            start_new_session=True,  # Ctrl-C is not for it
        )
        for each in (raw, own):
            os.close(each)
        os.dup2(theirs, 2)
        os.close(theirs)
        sys.stderr = cast(TextIO, JsonStream(self, "stderr"))
        sys.excepthook, threading.excepthook = self._uncaught, self._uncaught_in_thread
        sys.unraisablehook = self._unraisable
        logging.captureWarnings(True)
        on_process_fields(self._fields_changed)

    def record(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.line(self.formatter.format(record))

    def say(self, logger: str, level: int, message: str, **fields: Any) -> None:
        """Write a line of this process that is no record of a logger."""
        record = logging.LogRecord(logger, level, "", 0, message, None, None)
        vars(record).update(fields)
        self.record(record)

    def line(self, line: str) -> None:
        """Write a line that is JSON already."""
        data = line.encode("ascii", "backslashreplace") + b"\n"
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._own, data) :]
            except OSError:  # the wrapper has ended
                with suppress(OSError):
                    os.write(self._real, data)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """What Python code prints to stderr within goes nowhere; log records are written."""
        self._silent += 1
        try:
            yield
        finally:
            self._silent -= 1

    @property
    def is_silent(self) -> bool:
        """Whether what Python code prints goes nowhere."""
        return self._silent > 0

    def end(self) -> None:
        """Wait until everything is written. Lines that come later are written without the wrapper."""
        with suppress(ValueError, OSError):
            sys.stderr.flush()
        with self._lock:
            own, self._own = self._own, -1
            if own >= 0:
                os.close(own)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)

    def restore(self) -> None:
        """End, and give the process its stderr back."""
        os.dup2(self._real, 2)
        self.end()
        sys.stderr = self._before
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._hooks
        logging.captureWarnings(False)
        forget_listener(self._fields_changed)
        os.close(self._real)

    def _fields_changed(self, fields: Mapping[str, Any]) -> None:
        with self._lock, suppress(OSError):
            os.write(self._own, f"={json.dumps(self._said(fields))}\n".encode())

    @staticmethod
    def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
        return {**fields, "pid": os.getpid()}

    def _uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self._exception("an error that nobody has caught", kind, error, trace)

    def _uncaught_in_thread(self, what: threading.ExceptHookArgs) -> None:
        if what.exc_value is not None and not issubclass(what.exc_type, SystemExit):
            name = what.thread.name if what.thread is not None else "a thread"
            self._exception(f"an error has ended {name}", what.exc_type, what.exc_value, what.exc_traceback)

    def _unraisable(self, what: "sys.UnraisableHookArgs") -> None:
        if what.exc_value is not None:
            words = what.err_msg or "Exception ignored in"
            self._exception(f"{words}: {what.object!r}", what.exc_type, what.exc_value, what.exc_traceback)

    def _exception(
        self, words: str, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        last = traceback.format_exception_only(kind, error)[-1].strip()
        record = logging.LogRecord("fakescan", logging.CRITICAL, "", 0, "%s: %s", (words, last), (kind, error, trace))
        self.record(record)


class JsonHandler(logging.Handler):
    """Writes log records as lines, for loggers that hand nothing up."""

    def __init__(self, output: JsonOutput) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            self._output.record(record)
        except Exception:  # noqa: BLE001 - what logging does with a handler's own failure
            self.handleError(record)


class JsonStream(io.TextIOBase):
    """A stream whose lines are log lines: `sys.stderr`, and what displays write to."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, output: JsonOutput, logger: str) -> None:
        super().__init__()
        self._output, self._logger = output, logger
        self._pending = ""
        self._lock = threading.RLock()

    @property
    def buffer(self) -> io.FileIO:
        """For bytes: they are wrapped."""
        return io.FileIO(2, "w", closefd=False)

    def write(self, text: str) -> int:
        """Log the lines that are whole."""
        if self._output.is_silent:
            return len(text)
        with self._lock:
            *lines, self._pending = (self._pending + text.replace("\r", "\n")).split("\n")
            for line in lines:
                self._say(line)
        return len(text)

    def reconfigure(self, **_: Any) -> None:
        """Nothing to do: it takes every character."""

    def fileno(self) -> int:
        """That of stderr, as for those who write there past this object."""
        return 2

    def writable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Log what has no end."""
        with self._lock:
            rest, self._pending = self._pending, ""
        self._say(rest)
        super().close()

    def _say(self, line: str) -> None:
        line = _COLOUR.sub("", line).rstrip()
        if not line:
            return
        found = _LEVEL.match(line)
        level = logging.INFO if found is None else logging.getLevelNamesMapping()[found["level"].upper()]
        self._output.say(self._logger, level, line if found is None else line[found.end() :])


_outputs: list[JsonOutput] = []


def start(redact: Callable[[str], str]) -> None:
    """From now on, to the end of the process, every line on stderr is JSON; `redact` takes secrets out of text.

    Without effect where it is so already, or where there is no stderr.
    """
    if _outputs or sys.stderr is None:
        return
    with suppress(ValueError, OSError):
        sys.stderr.flush()
    os.environ[VARIABLE] = "json"  # for the processes that this one starts
    _outputs.append(JsonOutput(redact))
    atexit.register(_outputs[-1].end)


def stop() -> None:
    """The opposite of `start`, for tests."""
    output = _outputs.pop()
    atexit.unregister(output.end)
    os.environ.pop(VARIABLE, None)
    output.restore()


def json_output() -> JsonOutput | None:
    """Where lines of JSON go; None while logs are text."""
    return _outputs[-1] if _outputs else None


def stderr_for(logger: str) -> TextIO:
    """stderr for what is no log record, such as progress: as lines of JSON it has the name of a logger."""
    output = json_output()
    return sys.stderr if output is None else cast(TextIO, JsonStream(output, logger))
