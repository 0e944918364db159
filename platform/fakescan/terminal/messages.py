"""Messages on stderr: log records and errors, in lines that fit the terminal."""

import logging
import sys
import threading
import time
from typing import Any

from fakescan.terminal.json_logs.output import json_output

REPEAT_S = 600.0
"""Seconds within which the same warning is not said again."""

_OURS = ("fakescan", "fakevlm", "__main__", "py")
"""Packages whose warnings are for whoever runs a command; `py.warnings` are those that were asked for with -W."""
_STYLES = {logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "error"}


class MessageHandler(logging.Handler):
    """Shows log records on stderr, above the live display if there is one.

    Of other packages only errors, and a warning that has just been said is not said again, until `show_everything`.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._verbose = False
        self._said: dict[str, float] = {}
        self._said_lock = threading.Lock()
        self.setFormatter(logging.Formatter("%(message)s"))

    def show_everything(self) -> None:
        """From now on whatever is logged from INFO on."""
        self._verbose = True
        self.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        try:
            message = self.format(record)
            if not self._verbose and not (self._is_for_people(record) and self._is_new(message)):
                return
            output = json_output()
            if output is not None:
                output.record(record)
            else:
                from fakescan.terminal.console import print_hanging, stderr_console  # its library takes its time

                style = _STYLES.get(record.levelno, "")
                print_hanging(stderr_console(), f"{record.levelname.lower()}: ", message, style=style)
        except Exception:  # noqa: BLE001 - what logging does with a handler's own failure
            self.handleError(record)

    def _is_for_people(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or record.name.partition(".")[0] in _OURS

    def _is_new(self, message: str) -> bool:
        now = time.monotonic()
        with self._said_lock:
            self._said = {text: at for text, at in self._said.items() if now - at < REPEAT_S}
            is_new = message not in self._said
            self._said.setdefault(message, now)
        return is_new


def print_error(message: str, **fields: Any) -> None:
    """Say on stderr what is wrong: one line, wrapped on a terminal; `fields` are for a line of JSON."""
    output = json_output()
    if output is not None:
        output.say("fakescan", logging.ERROR, message, **fields)
        return
    from fakescan.terminal.console import console_on, print_hanging

    print_hanging(console_on(sys.stderr), "fakescan: error: ", message, style="error")


def say(line: str, logger: str = "fakescan") -> None:
    """Print a line on stderr that is neither a warning nor an error, unless it begins so."""
    output = json_output()
    if output is None:
        print(line, file=sys.stderr, flush=True)
        return
    label, _, rest = line.partition(": ")
    level = {"warning": logging.WARNING, "error": logging.ERROR}.get(label.lower())
    output.say(logger, logging.INFO if level is None else level, line if level is None else rest)
