"""Lines of Ray's workers as the driver shows them, and loggers that write text themselves."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from fakescan.terminal.json_logs import fields
from fakescan.terminal.json_logs.handlers import adopt_handlers
from fakescan.terminal.json_logs.line_formatter import LineFormatter
from fakescan.terminal.json_logs.ray_logs import worker_records

pytestmark = pytest.mark.unit

BATCH = {"ip": "10.0.0.7", "pid": 42, "actor_name": "Judge", "task_name": None, "is_err": True, "job": "01"}
LINE = {
    "time": "2026-01-02T03:04:05.678+00:00",
    "level": "WARNING",
    "logger": "fakescan.scan",
    "message": "m",
    "shard": 3,
}


@pytest.fixture(autouse=True)
def none_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that this process has done gives its later lines a run."""
    monkeypatch.setattr(fields, "_of_process", {})


def shown(*lines: str, **batch: object) -> list[dict[str, object]]:
    records = worker_records({**BATCH, **batch, "lines": list(lines)})
    return [json.loads(LineFormatter().format(record)) for record in records]


def test_a_line_of_json_keeps_its_fields_and_its_time() -> None:
    (line,) = shown(json.dumps({**LINE, "run_id": "r", "node": "n1", "exception": "Traceback\nx", "secret": "no"}))
    assert line == {
        **LINE, "run_id": "r", "node": "n1", "exception": "Traceback\nx",
        "host": "10.0.0.7", "actor": "Judge", "via": "worker", "pid": 42,
    }  # fmt: skip


def test_whose_line_it_is_ray_says_and_not_the_line() -> None:
    (line,) = shown(json.dumps({**LINE, "pid": 1, "host": "forged", "via": "driver", "actor": "Other"}))
    assert (line["pid"], line["host"], line["via"], line["actor"]) == (42, "10.0.0.7", "worker", "Judge")


@pytest.mark.parametrize(
    "text", ["plain words", "\x1b[31mred", '{"broken": ', "[1]", '{"message": 5}', json.dumps({**LINE, "level": 3})]
)
def test_any_other_line_is_a_message(text: str) -> None:
    (line,) = shown(text)
    assert (line["message"], line["level"], line["logger"]) == (text.rstrip(), "INFO", "ray.worker")


def test_lines_of_ray_itself() -> None:
    (line,) = shown("a node died", pid="raylet")
    assert line["logger"] == "ray.raylet"
    assert shown("", "   ") == []


def test_a_wrong_time_and_level_do_no_harm() -> None:
    (line,) = shown(json.dumps({**LINE, "time": "yesterday", "level": "LOUD"}))
    assert line["time"] != "yesterday"
    assert line["message"] == "m"


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    logger = logging.getLogger("library.of.tests")
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def test_handlers_of_text_are_replaced_and_files_stay(
    library: logging.Logger, tmp_path: object, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    class Ours(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    file = logging.FileHandler(f"{tmp_path}/log")
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.ERROR)
    library.addHandler(console)
    library.addHandler(file)
    library.propagate = False
    adopt_handlers(Ours())
    library.warning("a warning")
    library.error("an error")
    assert heard == ["an error"], "as much as before"
    assert console not in library.handlers
    assert file in library.handlers
    file.close()
