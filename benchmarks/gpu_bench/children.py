"""Processes that measure: each gets a plan as JSON, leaves a result as JSON, and is ended when its time is over."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.process_tree import Seen, members, watched
from benchmarks.report import ROOT
from fakevlm.errors import UserError, one_line

_PATIENCE_S = 20.0
"""Seconds in which a process may clean up after SIGTERM."""
_LONGEST = 400
"""Characters of a reason."""
_ERROR = re.compile(r"(?:^|[\s\]])((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt)): *(.+)$")
_EMPTY = ("Engine core initialization failed", "See stack trace above", "See root cause above")
"""What vLLM says in the process that only hears of a failure."""


class PartFailedError(RuntimeError):
    """A part of the bench could not be measured; the message is one line."""


@dataclass(frozen=True)
class Done:
    """What a process has measured."""

    result: dict[str, Any]
    seen: Seen
    """Its memory, and what else ran on the machine."""


def run_child(module: str, plan: Any, work: Path, timeout_s: float, env: dict[str, str]) -> Done:
    """Run `python -m benchmarks.MODULE PLAN.json`, which writes RESULT.json beside it. Raises PartFailedError.

    `plan`: a dataclass. At the end of its time the process is ended with everything it started.
    """
    if timeout_s <= 0:
        raise PartFailedError("no time was left for it: see --minutes")
    work.mkdir(parents=True)
    (work / "plan.json").write_text(json.dumps(asdict(plan)))
    log = work / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", str(work / "plan.json")],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": _path(), **env},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with watched(process.pid) as seen:
                process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise PartFailedError(f"it took longer than the {timeout_s:.0f} s that were left for it") from None
        finally:
            end_tree(process)
    result = work / "result.json"
    found: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {}
    if process.returncode != 0 or "error" in found or not found:
        raise PartFailedError(reason(found.get("error"), log.read_text(errors="replace"), process.returncode))
    return Done(found, seen)


def answer(measure: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The main function of such a process: reads its plan, measures, and leaves the result, or why there is none."""
    plan = Path(sys.argv[1])
    result = plan.with_name("result.json")
    try:
        found = measure(json.loads(plan.read_text()))
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, UserError | SystemExit) else f"{type(error).__name__}: "
        result.write_text(json.dumps({"error": f"{kind}{one_line(error)}"}))
        raise
    result.write_text(json.dumps(found))


def reason(error: str | None, log: str, status: int | None) -> str:
    """Why a part failed, in one line: the error itself, or the one in the log that was its cause."""
    if error is not None and not any(empty in error for empty in _EMPTY):
        return _short(error)
    lines = [found for line in log.splitlines() if (found := _ERROR.search(line.rstrip())) is not None]
    for found in reversed(lines):
        if not any(empty in found[2] for empty in _EMPTY):
            return _short(f"{found[1]}: {found[2]}")
    if error is not None:
        return _short(error)
    return f"its process ended with status {status}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def end_tree(process: "subprocess.Popen[bytes]") -> None:
    """End a process and everything it started, kindly at first."""
    tree = members(process.pid)
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
    deadline = time.monotonic() + 5.0
    for member in tree:
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            member.wait(max(0.0, deadline - time.monotonic()))
    for member in tree:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def _path() -> str:
    """PYTHONPATH that finds this project, installed or not."""
    own = [str(ROOT), str(ROOT / "platform")]
    return os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])
