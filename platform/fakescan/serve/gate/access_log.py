"""The log of all requests, as JSON lines in files of bounded size.

A request that nobody had to pay for, because the gate refused it, costs its sender next to nothing: of those only some
are written, and the others counted.
"""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from fakescan.serve.config import AccessLog as AccessLogSettings
from fakescan.serve.gate.bounds.rate_limit import Bucket, Rate
from fakescan.serve.gate.request_context import RequestContext
from fakescan.serve.outcome_header import Outcomes

REFUSALS = Rate(per_second=5.0, burst=100)
"""Refusals that are written."""
SUMMARY_S = 10.0
"""Seconds between two lines that count the others."""
_MAX_TEXT = 120
"""Characters of a path or a user agent."""

logger = logging.getLogger("ray.serve.fakescan")


class _AccessFile(RotatingFileHandler):
    """The file. A line that cannot be written is counted; Serve's log has one error for all of them."""

    failed = 0
    """Lines that could not be written so far."""
    _failed_before = 0  # when the last one was written

    def emit(self, record: logging.LogRecord) -> None:
        failed = self.failed
        super().emit(record)
        if self.failed == failed != self._failed_before:
            logger.warning("access_log: written again; %d lines were not", failed - self._failed_before)
            self._failed_before = failed

    def handleError(self, record: logging.LogRecord) -> None:
        if self.failed == self._failed_before:
            error = sys.exception()
            reason = getattr(error, "strerror", None) or error
            logger.error("access_log: cannot write %s: %s; lines are lost until it can", self.baseFilename, reason)
        self.failed += 1


class AccessLog:
    """The access log of one proxy. Without a folder to write to, its lines go to Serve's own log."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._settings: AccessLogSettings | None = None
        self._handler: _AccessFile | None = None
        self._failed_before = 0
        self._refusals = Bucket(REFUSALS, clock())
        self._summary_at = clock()
        self._left_out: Counter[str] = Counter()

    def configure(self, settings: AccessLogSettings) -> None:
        """Opens the file, where the settings are not those of before. What cannot be opened is logged."""
        if settings is self._settings or settings == self._settings:
            return
        self._settings = settings
        self.close()
        folder = Path(settings.folder) if settings.folder is not None else _serve_logs()
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handler = _AccessFile(
                folder / f"access_{_node()}.jsonl",
                maxBytes=settings.max_bytes,
                backupCount=settings.files - 1,
                encoding="utf-8",
                delay=True,
            )
        except OSError as error:
            logger.error("access_log: cannot write in %s: %s", folder, error.strerror)

    @property
    def failed(self) -> int:
        """Lines that could not be written so far."""
        return self._failed_before + (self._handler.failed if self._handler is not None else 0)

    def close(self) -> None:
        """Closes the file."""
        if self._handler is not None:
            with suppress(OSError):  # what it could not write it cannot write now
                self._handler.close()
            self._failed_before = self.failed
            self._handler = None

    def request(self, context: RequestContext, seconds: float, outcomes: Outcomes | None) -> None:
        """Writes the line of a request that has ended."""
        now = self._clock()
        self._summarise(now)
        # What has come to a replica is paid for, and so bounded by the limits of its key.
        if context.code and not context.has_passed and self._refusals.take(1, now) > 0:
            self._left_out[context.code] += 1
            return
        line: dict[str, Any] = {
            "request_id": context.request_id,
            "client": context.client,
            "user_agent": context.user_agent[:_MAX_TEXT],
            "key": context.key,
            "method": context.method[:20],
            "path": context.path[:_MAX_TEXT],
            "status": context.status,
            "ms": round(seconds * 1000, 1),
            "bytes": context.num_bytes,
        }
        if context.key_id:
            line["key_id"] = context.key_id
        if context.trace_id:
            line["trace_id"] = context.trace_id
        if context.code:
            line["code"] = context.code
        if outcomes is not None:
            line["images"] = [{"outcome": image.outcome, "sha256": image.sha256} for image in outcomes.images]
        self._write(line)

    def _summarise(self, now: float) -> None:
        if self._left_out and now - self._summary_at >= SUMMARY_S:
            self._write({"refusals_left_out": dict(self._left_out)})
            self._left_out.clear()
            self._summary_at = now

    def _write(self, line: Mapping[str, Any]) -> None:
        time_of = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = json.dumps({"time": time_of, **line}, separators=(",", ":"))
        if self._handler is None:
            logger.info("%s", text)
        else:
            self._handler.handle(logging.LogRecord("access", logging.INFO, "", 0, text, None, None))


def _serve_logs() -> Path | None:
    """The folder of Serve's logs on this node; None outside a cluster."""
    import ray

    if not ray.is_initialized():
        return None
    from ray.serve._private.logging_utils import get_serve_logs_dir

    return Path(get_serve_logs_dir())


def _node() -> str:
    """A short name of the node, which has one proxy."""
    import ray

    return str(ray.get_runtime_context().get_node_id())[:8] if ray.is_initialized() else "local"
