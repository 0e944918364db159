"""Where logs go while a command runs: warnings to stderr, on request all from INFO on, and all of them into files."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fakescan.terminal.json_logs.line_formatter import LineFormatter
from fakescan.terminal.json_logs.output import json_output
from fakescan.terminal.messages import MessageHandler, say
from fakevlm.errors import UserError

_ONLY_IN_FILES = "only_in_files"

_stderr: list[MessageHandler] = []
_files: dict[Path, logging.Handler] = {}


class _LineInFile(logging.Formatter):
    """A line with its time, without what other libraries log and nobody may read.

    Only a record begins at the start of a line: whatever its message holds, such as the name of an object with a line
    break in it, and its traceback go on in lines that are indented.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The record as it goes into the file."""
        from fakescan.terminal.console import printable  # its library takes its time

        return printable(self._redact(super().format(record))).replace("\n", "\n    ")


class _LogFile(logging.FileHandler):
    """Gives up at the first line that cannot be written, as on a full disk, and says so once."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say what is wrong, and take no more records."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.addFilter(lambda _: False)
        message = f"--log-file: {self.baseFilename} cannot be written ({error.strerror}): no more is logged there"
        say(f"WARNING: {message}")

    def close(self) -> None:
        """Close the file; what could not be written has been told."""
        with suppress(OSError):
            super().close()


@contextmanager
def log_session() -> Iterator[None]:
    """Warnings go to stderr until the session ends; `show_logs` and `log_to_file` extend it."""
    root = logging.getLogger()
    level = root.level
    handler = MessageHandler()
    handler.addFilter(lambda record: not hasattr(record, _ONLY_IN_FILES))
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _stderr.append(handler)
    try:
        yield
    finally:
        root.setLevel(level)
        for each in (_stderr.pop(), *_files.values()):
            root.removeHandler(each)
            each.close()
        _files.clear()


def show_logs() -> None:
    """Everything from INFO on goes to stderr too."""
    logging.getLogger().setLevel(logging.INFO)
    for handler in _stderr:
        handler.show_everything()


def log_to_file(file: Path, *, redact: Callable[[str], str]) -> None:
    """Everything from INFO on is added to the end of a file too, in lines that pass through `redact`: of JSON, where
    those on stderr are.

    Raises UserError where the file cannot be written.
    """
    path = Path(os.path.abspath(file))
    if path in _files:
        return
    try:
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"--log-file: cannot write {file}: {error.strerror}") from None
    handler.setLevel(logging.INFO)
    handler.setFormatter(_LineInFile(redact) if json_output() is None else LineFormatter(redact))
    _files[path] = handler
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def has_log_files() -> bool:
    """Whether logs go to a file."""
    return bool(_files)


class ToLogFiles(logging.Handler):
    """Hands records to the files of the moment, for loggers that hand nothing up."""

    def emit(self, record: logging.LogRecord) -> None:
        """Add the record to every file."""
        hand_to_files(record)


def hand_to_files(record: logging.LogRecord) -> None:
    """Add a record to every file."""
    for handler in list(_files.values()):
        if record.levelno >= handler.level:
            handler.handle(record)


def log_only_to_files(level: int, message: str, *, name: str = "fakescan", error: BaseException | None = None) -> None:
    """Log what people are told in another way, or not at all; `error` adds its traceback."""
    if _files:
        logger = logging.getLogger(name)
        logger.log(level, "%s", message, exc_info=error, extra={_ONLY_IN_FILES: True})
