"""Handlers of lines of JSON for processes that the command has started: Ray's workers, and vLLM's own."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from fakescan.terminal.json_logs.line_formatter import LineFormatter
from fakescan.terminal.json_logs.output import json_output

VLLM_CONFIG = str(Path(__file__).with_name("vllm.json"))
"""File for VLLM_LOGGING_CONFIG_PATH: vLLM's processes read it as they start; `VllmHandler` gets their records."""

_node: list[str] = []


class StderrHandler(logging.Handler):
    """Writes lines to the file descriptor: `sys.stderr` may lead to a log itself."""

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        super().__init__()
        self.setFormatter(LineFormatter(redact))
        self.addFilter(_add_node)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            data = f"{self.format(record)}\n".encode()
            while data:
                data = data[os.write(2, data) :]
        except Exception:  # noqa: BLE001 - what logging does with a handler's own failure
            self.handleError(record)


def log_lines_of_worker(redact: Callable[[str], str], level: str = "WARNING") -> None:
    """Have this process log lines of JSON to its stderr, and Ray's loggers as well."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, StderrHandler)]:
        root.removeHandler(handler)
    root.addHandler(StderrHandler(redact))
    root.setLevel(level)
    logging.captureWarnings(True)
    adopt_handlers(StderrHandler(redact))


def adopt_handlers(ours: logging.Handler) -> None:
    """Have loggers that write text to stderr or stdout themselves hand their records to `ours`."""
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if _writes_text(handler):
                logger.removeHandler(handler)
                if _reaches_root(logger):
                    continue
                adopted = _Adopted(ours)
                adopted.setLevel(handler.level)
                for each in handler.filters:
                    adopted.addFilter(each)
                logger.addHandler(adopted)


class _Adopted(logging.Handler):
    """Stands where a handler of text was."""

    def __init__(self, ours: logging.Handler) -> None:
        super().__init__()
        self._ours = ours

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record over."""
        if record.levelno >= self._ours.level:
            self._ours.handle(record)


def _reaches_root(logger: logging.Logger) -> bool:
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
    return logger is logging.root


def _writes_text(handler: logging.Handler) -> bool:
    if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
        return False
    streams = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return handler.stream in streams or getattr(handler.stream, "name", "") in ("<stderr>", "<stdout>")


class VllmHandler(StderrHandler):
    """vLLM's records, from VLLM_LOGGING_LEVEL on: in a replica to Serve's log, else to stderr."""

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        super().__init__(redact)
        level = os.environ.get("VLLM_LOGGING_LEVEL", "WARNING").upper()
        logging.getLogger("vllm").setLevel(level if level in logging.getLevelNamesMapping() else "WARNING")

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record on."""
        output = json_output()
        if output is not None:
            if not output.is_silent:
                output.record(record)
            return
        handlers = [each for each in logging.getLogger("ray.serve").handlers if not isinstance(each, _Adopted)]
        for handler in handlers:
            if record.levelno >= handler.level:
                handler.handle(record)
        if not handlers:
            super().emit(record)


def _add_node(record: logging.LogRecord) -> bool:
    """A filter that lets everything through, with the Ray node that it happened on."""
    ray = sys.modules.get("ray._private.worker")
    if not _node and ray is not None and ray.global_worker.connected:
        _node.append(ray.global_worker.current_node_id.hex())
    if _node:
        record.node = _node[0]
    return True
