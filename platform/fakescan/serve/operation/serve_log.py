"""Serve's log in a replica, which must outlive what the engine's libraries do to logging."""

import logging
import os
from logging.handlers import MemoryHandler

SERVE_LOGGER = "ray.serve"


def protect_serve_log() -> None:
    """Keeps Serve's log open whatever is imported later, and has vLLM's warnings go there; call it before the engine.

    `logging.config` closes every handler of the process before it sets up its own, and vLLM calls it as it is
    imported. Serve's handler has then lost its file: the replica logs nothing any more, and a controller that comes
    back asks it for the file's name, gets an error, and kills a healthy replica.
    """
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
