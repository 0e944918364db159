"""One log record as one line of JSON."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from fakescan.terminal.json_logs.fields import FIELDS, context_fields, process_fields


class LineFormatter(JsonFormatter):
    """`time`, `level`, `logger` and `message`; then what is known of where it happened; `exception` has a traceback.

    A line is ASCII: line breaks and control characters in a message, such as those of an object's name, are escaped.
    `redact` takes secrets out of text.
    """

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        super().__init__()
        self._redact = redact

    def add_fields(self, log_data: LogData, record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fill `log_data` with the fields of a line."""
        log_data["time"] = rfc3339(record.created)
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = self._clean(record.getMessage())
        known = {**process_fields(), **vars(record), **context_fields()}
        for name in FIELDS:
            value = known.get(name)
            if value is not None and value != "":
                text = str.__str__(value) if isinstance(value, str) else str(value)  # a member of an enumeration, too
                log_data[name] = value if isinstance(value, int) else self._clean(text)
        if record.process is not None:
            log_data["pid"] = record.process
        for name, key in (("exception", "exc_info"), ("stack", "stack_info")):
            if message_dict.get(key):
                log_data[name] = self._clean(str(message_dict[key]))

    def _clean(self, text: str) -> str:
        """Without secrets, and without halves of characters, which not every reader of JSON takes."""
        return self._redact(text).encode(errors="backslashreplace").decode()


def rfc3339(seconds: float) -> str:
    """Seconds since 1970 as a time in UTC, with milliseconds: the access log's form."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
