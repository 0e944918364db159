"""Serve's log in a replica, which must outlive what the engine's libraries do to logging."""

import logging
import os
from collections.abc import Sequence
from importlib import import_module
from logging.handlers import MemoryHandler
from typing import Any

from fakescan.storage.url import redact_urls
from fakescan.terminal.json_logs.fields import set_process_fields
from fakescan.terminal.json_logs.handlers import VLLM_CONFIG, log_lines_of_worker
from fakescan.terminal.json_logs.line_formatter import LineFormatter
from fakescan.terminal.json_logs.output import VARIABLE

SERVE_LOGGER = "ray.serve"


def protect_serve_log() -> None:
    """Keeps Serve's log open whatever is imported later, and has vLLM's warnings go there; call it before the engine.

    `logging.config` closes every handler of the process before it sets up its own, and vLLM calls it as it is
    imported. Serve's handler has then lost its file: the replica logs nothing any more, and a controller that comes
    back asks it for the file's name, gets an error, and kills a healthy replica.
    """
    if logs_json():
        os.environ.setdefault("VLLM_LOGGING_CONFIG_PATH", VLLM_CONFIG)  # for the engine's own process, too
    if "VLLM_LOGGING_CONFIG_PATH" not in os.environ:  # a file that vLLM takes only where it may set up logging
        os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    for handler in logging.getLogger(SERVE_LOGGER).handlers:
        if isinstance(handler, MemoryHandler):
            handler.close = handler.flush  # type: ignore[method-assign]
    if os.environ.get("VLLM_CONFIGURE_LOGGING") == "0":
        vllm = logging.getLogger("vllm")
        vllm.setLevel(logging.WARNING)
        vllm.propagate = False
        vllm.addHandler(_ToServeLog())


class _ToServeLog(logging.Handler):
    """Hands records to the handlers that Serve's logger has at the moment: Serve replaces them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Logs the record."""
        for handler in logging.getLogger(SERVE_LOGGER).handlers:
            if record.levelno >= handler.level:
                handler.handle(record)


def logs_json() -> bool:
    """Whether --log-format json was given, or its variable is set where this process runs."""
    return os.environ.get(VARIABLE) == "json"


def use_json_lines(**fields: Any) -> None:
    """Has a process of Serve log as the command does, where that logs JSON: to stderr, and in Serve's own files.

    `fields` are those of all its lines. Serve's files with the encoding JSON get our fields in place of Ray's; where it
    configures them again, too.
    """
    if not logs_json():
        return
    set_process_fields(command="serve", **fields)
    log_lines_of_worker(redact_urls)
    for handler in logging.getLogger(SERVE_LOGGER).handlers:
        target = handler.target if isinstance(handler, MemoryHandler) else handler
        if target is not None and isinstance(target.formatter, import_module("ray._common.formatters").JSONFormatter):
            target.setFormatter(_ServeLine())
    utils: Any = import_module("ray.serve._private.logging_utils")
    utils.JSONFormatter = _ServeLine


class _ServeLine(LineFormatter):
    """Stands in the place of Ray's formatter."""

    def __init__(self) -> None:
        super().__init__(redact_urls)

    def set_additional_log_standard_attrs(self, attributes: Sequence[str]) -> None:
        """Ray's hook for more fields; these lines have what there is."""
