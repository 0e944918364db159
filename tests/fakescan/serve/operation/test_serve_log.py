"""Serve's log in a replica and libraries that configure logging."""

import logging
import logging.config
import logging.handlers
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakescan.serve.operation.serve_log import SERVE_LOGGER, protect_serve_log

pytestmark = pytest.mark.unit


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The log of a replica, as Serve sets it up."""
    monkeypatch.delenv("VLLM_CONFIGURE_LOGGING", raising=False)
    file = tmp_path / "replica.log"
    handler = logging.handlers.MemoryHandler(
        1, logging.ERROR, logging.handlers.RotatingFileHandler(file, maxBytes=10**6, backupCount=1)
    )
    serve, vllm = logging.getLogger(SERVE_LOGGER), logging.getLogger("vllm")
    before = (serve.handlers[:], serve.level, serve.propagate, vllm.handlers[:], vllm.level, vllm.propagate)
    registered = logging._handlerList[:], dict(logging._handlers)  # type: ignore[attr-defined]
    serve.handlers[:], serve.propagate = [handler], False
    serve.setLevel(logging.INFO)
    yield file
    serve.handlers[:], serve.level, serve.propagate, vllm.handlers[:], vllm.level, vllm.propagate = before
    logging._handlerList[:] = registered[0]  # type: ignore[attr-defined]
    logging._handlers.update(registered[1])  # type: ignore[attr-defined]


CONFIG = {"version": 1, "disable_existing_loggers": False, "loggers": {"vllm": {"level": "INFO"}}}


def test_it_outlives_a_library_that_configures_logging(log: Path) -> None:
    protect_serve_log()
    handlers = logging.getLogger(SERVE_LOGGER).handlers
    for number in range(2):
        logging.config.dictConfig(CONFIG)
        logging.getLogger("ray.serve.fakescan").info("after %d", number)
    assert log.read_text() == "after 0\nafter 1\n"
    (handler,) = [handler for handler in handlers if isinstance(handler, logging.handlers.MemoryHandler)]
    assert isinstance(handler.target, logging.FileHandler), "where Serve looks for the file's name"


def test_warnings_of_vllm_are_in_it(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protect_serve_log()
    logging.getLogger("vllm.engine").warning("a warning")
    logging.getLogger("vllm.engine").info("too much")
    assert log.read_text() == "a warning\n"


def test_an_operators_own_configuration_of_vllm_is_respected(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_LOGGING_CONFIG_PATH", "/etc/vllm.json")
    protect_serve_log()
    assert "VLLM_CONFIGURE_LOGGING" not in os.environ, "vLLM refuses a file where it may not configure"
    logging.config.dictConfig(CONFIG)
    logging.getLogger("ray.serve.fakescan").info("still")
    assert log.read_text() == "still\n"
