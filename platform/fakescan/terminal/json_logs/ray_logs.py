"""JSON lines of Ray: of its workers, whose stderr goes into files and from there to the driver, and of Ray itself."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TextIO

from ray import LoggingConfig
from ray._private import worker as ray_worker
from ray.experimental.tqdm_ray import RAY_TQDM_MAGIC

from fakescan.terminal.json_logs.fields import FIELDS, process_fields, set_process_fields
from fakescan.terminal.json_logs.handlers import log_lines_of_worker
from fakescan.terminal.json_logs.output import VARIABLE, json_output

_LEVELS = logging.getLevelNamesMapping()


class WorkerLogs(LoggingConfig):
    """What `ray.init` has every worker of this driver do: log lines of JSON to stderr.

    Ray's own configuration of the kind has other fields, and times without a zone.
    """

    def __init__(self, *, verbose: bool, redact: Callable[[str], str]) -> None:
        super().__init__(encoding="JSON", log_level="INFO" if verbose else "WARNING")
        self.redact = redact
        self.fields = {name: value for name, value in process_fields().items() if name != "host"}

    def _apply(self) -> None:
        """Ray calls it in each worker before its first task, and in the driver, which has its logs already."""
        if json_output() is None:
            os.environ[VARIABLE] = "json"  # for the processes that it starts
            set_process_fields(**self.fields)
            log_lines_of_worker(self.redact, self.log_level)


def wrap_worker_lines() -> None:
    """Have the driver show what workers print as lines of JSON on stderr, those that are JSON with what Ray knows."""
    ray_worker.print_worker_logs = _print_worker_logs  # its thread looks the function up for every batch


def _print_worker_logs(data: dict[str, Any], print_file: TextIO, ignore_prefix: bool = False) -> None:
    output = json_output()
    if output is None or not ray_worker._worker_logs_enabled:
        return
    if data.get("pid") == "autoscaler":  # of whose pages on the state of the cluster Ray shows the events
        data = {**data, "lines": list(ray_worker.filter_autoscaler_events(data["lines"]))}
    for record in worker_records(data):
        output.record(record)


def worker_records(data: dict[str, Any]) -> Iterator[logging.LogRecord]:
    """The records of a batch of lines of one worker, as Ray's log monitor sends them.

    Which process they are of is what Ray says, and not what the lines say.
    """
    known = {"host": data.get("ip"), "actor": data.get("actor_name"), "task": data.get("task_name"), "via": "worker"}
    for line in data["lines"]:
        if not line.strip() or RAY_TQDM_MAGIC in line:
            continue
        name = str(data["pid"]) if data.get("pid") in ("autoscaler", "raylet") else "worker"
        record = logging.LogRecord(f"ray.{name}", logging.INFO, "", 0, line.rstrip(), None, None)
        found = _object(line)
        if found is not None:
            record.msg, record.name = found["message"], found["logger"]
            record.levelno, record.levelname = _LEVELS.get(found["level"], logging.INFO), found["level"]
            if (created := _seconds(found["time"])) is not None:
                record.created = created
            record.exc_text = found.get("exception")
            vars(record).update({field: found[field] for field in FIELDS if field in found})
        record.process = int(data["pid"]) if str(data.get("pid")).isdigit() else None
        vars(record).update({field: value for field, value in known.items() if value})
        yield record


def _object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    needed = ("time", "level", "logger", "message")
    is_ours = isinstance(found, dict) and all(isinstance(found.get(name), str) for name in needed)
    return found if is_ours else None


def _seconds(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError):
        return None
