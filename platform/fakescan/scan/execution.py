"""Executes the plan of a scan: the loop over the parts as they are written, and what it keeps of them."""

import logging
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import JobFailedError
from fakescan.run.counts import Counts
from fakescan.run.run_file import RunFile
from fakescan.scan.ledger import remote_ledger
from fakescan.scan.metrics.scan_metrics import ScanMetrics
from fakescan.scan.pipeline import Pipeline
from fakescan.scan.progress import ScanDisplay
from fakescan.scan.start.run_lease import RunLease
from fakescan.scan.store_weather import FetchGuard, shown_waits
from fakescan.scan.tables import PartSummary, StripCounts
from fakescan.settings.run_slice import RunSlice
from fakevlm.errors import ErrorCode, UserError

logger = logging.getLogger(__name__)

Observer = Callable[[PartSummary], None]

_MIN_STEADY_S = 1.0
"""Seconds after the first part below which there is no pace to speak of."""


class ScanFailedError(JobFailedError):
    """The scan ended before all rows were accounted for; the message is one line. The run can be resumed."""


@dataclass
class ScanOutcome:
    """How a scan ended."""

    run: RunFile
    url: str
    slice: RunSlice | None = None
    """The slice of the run that this scan does, with its own drivers for the others; None for the whole run."""
    rows: int = 0
    """Rows of the run, or of the slice."""
    scanned: Counts = field(default_factory=Counts)
    """Rows that this scan did."""
    whole: Counts = field(default_factory=Counts)
    """Rows of the whole run, or of the slice, those of earlier scans included."""
    missing_elsewhere: int = 0
    """Parts of other slices that the run does not have yet."""
    examples: dict[str, str] = field(default_factory=dict)
    """For each error code of the run, one URI and message."""
    copies: int = 0
    """Rows of this scan that got the judgement of another row with the same content; none unless `dedupe` is set."""
    strip: StripCounts = field(default_factory=StripCounts)
    """What this scan did for a stability strip."""
    seconds: float = 0.0
    """From the start of the command to the last part."""
    startup_s: float = 0.0
    """From the start of the command to the first part."""
    already_complete: bool = False
    """Whether there was nothing left to do."""
    completed_at: datetime | None = None
    """When the latest row that was there before was judged."""
    first_rows: int = 0
    """Rows of the first part."""
    account: list[str] = field(default_factory=list)
    """Lines for people about what of the source became no row."""

    @property
    def error_rate(self) -> float:
        """Share of the rows in `whole` that ended in an error."""
        return self.whole.failed / self.whole.rows if self.whole.rows else 0.0

    @property
    def unreadable(self) -> int:
        """Rows of this scan without an image that could be judged."""
        errors = self.scanned.errors
        return self.scanned.failed - errors.get(ErrorCode.JUDGE_FAILED, 0) - errors.get(ErrorCode.POISON, 0)

    @property
    def steady_rate(self) -> float | None:
        """Images per second after the first part; None where there were too few to tell."""
        seconds = self.seconds - self.startup_s
        rows = self.scanned.rows - self.first_rows
        return rows / seconds if seconds >= _MIN_STEADY_S and rows else None


@dataclass(frozen=True)
class Execution:
    """A scan under way: its stages, its outcome so far, and who is told of it."""

    pipeline: Pipeline
    outcome: ScanOutcome
    lease: RunLease
    progress: ScanDisplay
    observe: Observer | None
    started: float
    """When the command began, on the monotonic clock."""
    guard: FetchGuard
    """Stops the scan when too many rows cannot be fetched."""

    def run(self, todo: NDArray[np.int64], known: Iterator[dict[bytes, bytes]]) -> None:
        """Do the shards of `todo`; returns when each has a part. `known`: contents of earlier starts of the run."""
        import ray
        from ray.exceptions import RayError

        rows, run = self.outcome.rows, self.outcome.run
        left = run.sharding.rows_of(todo)
        self.progress.begin(rows, rows - left, run.known_meaning)
        metrics = ScanMetrics(run, self.outcome.url, rows, left)
        ledger = remote_ledger()
        try:
            for contents in known:
                ray.get(ledger.remember.remote(contents))
            with metrics.following(ledger):
                self._follow(self.pipeline.run(todo, ledger), ledger, metrics)
        finally:
            with suppress(RayError):
                ray.kill(ledger)  # a session may run many scans

    def _follow(self, summaries: Iterator[PartSummary], ledger: Any, metrics: ScanMetrics) -> None:
        # Closed at once however it ends: its executor must not outlive the connection to Ray.
        with (
            self.progress.following(ledger),
            shown_waits(self.progress, ledger),
            closing(_guarded(summaries)) as parts,
        ):
            for part in parts:
                self.lease.check()
                if part.counts.rows:
                    self._add(part)
                    metrics.add(part, self.outcome.run.sharding.size(part.shard))

    def _add(self, part: PartSummary) -> None:
        outcome = self.outcome
        outcome.seconds = time.monotonic() - self.started
        if not outcome.startup_s:
            outcome.startup_s, outcome.first_rows = outcome.seconds, part.counts.rows
        outcome.scanned.add(part.counts)
        self.guard.add(part.counts, part.examples)
        outcome.copies += part.copies
        outcome.strip.add(part.strip)
        for code, example in part.examples.items():
            outcome.examples.setdefault(code, example)
        self.progress.add(part, outcome.run.sharding.size(part.shard))
        if self.observe is not None:
            self.observe(part)


def _guarded(parts: Iterator[PartSummary]) -> Generator[PartSummary, None, None]:
    """The parts, with Ray's failures turned into one line."""
    from ray.exceptions import RayError

    try:
        yield from parts
    except RayError as error:
        raise _explain(error) from error


_RAISED = re.compile(r"^\s*(?:[\w.]+\.)?(?P<kind>\w*(?:Error|Exception))(?:: (?P<what>.*))?$", re.MULTILINE)


def _explain(error: Exception) -> Exception:
    """The user's mistake inside a remote failure, or what a stage raised first; the traceback goes to the log."""
    logger.info("the pipeline failed", exc_info=error)
    # Ray hands on a remote exception as text: the traceback of the first one comes first.
    found = _RAISED.search(str(error))
    if found is None:
        return ScanFailedError(f"the scan stopped: {type(error).__name__} (--verbose shows the logs)")
    if found["kind"] == "UserError":
        return UserError(found["what"] or "")
    if found["kind"] == "StoreAwayError":
        return ScanFailedError(f"the scan stopped: {found['what']}")
    return ScanFailedError(f"the scan stopped: {found['kind']}: {found['what'] or ''} (--verbose shows the logs)")
