"""What a scan's driver knows of it, as metrics: rows, parts, engines, and what it waits for."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

import fakevlm
from fakescan.run.run_file import RunFile
from fakescan.scan.engines.book import Loss, Situation
from fakescan.scan.ledger_follower import asking
from fakescan.scan.metrics.stage_metrics import SHORT_ID
from fakescan.scan.tables import PartSummary, StripCounts
from fakescan.storage.url import redact
from fakescan.storage.weather.waits import WAITS, Wait
from fakescan.telemetry.metric import Counter, Gauge, forget
from fakevlm.errors import ErrorCode
from fakevlm.verdict import Verdict

INFO = Gauge(
    "fakescan_scan_info", "1 while the scan runs, with its output, model and version as labels.",
    "run", "output", "model", "version",
)  # fmt: skip
ROWS = Counter(
    "fakescan_scan_rows", "Rows in the parts written: by verdict (real, fake, uncertain) or error code.",
    "run", "outcome",
)  # fmt: skip
COPIES = Counter("fakescan_scan_copies", "Rows that got the judgement of another row with the same content.", "run")
STRIP_ROWS = Counter("fakescan_scan_strip_rows", "Rows looked at again for the stability strip.", "run")
STRIP_CHANGES = Counter("fakescan_scan_strip_changes", "Of these, rows whose verdict does not hold.", "run")
STRIP_PREFILLS = Counter(
    "fakescan_scan_strip_prefills", "Variants judged for the stability strip, one prefill each.", "run"
)
STRIP_FAILURES = Counter(
    "fakescan_scan_strip_failures", "Variants for the stability strip that could not be judged.", "run"
)
PARTS = Counter("fakescan_scan_parts", "Parts written.", "run")
PART_BYTES = Counter("fakescan_scan_part_bytes", "Bytes of the parts written.", "run")
RUN_ROWS = Gauge("fakescan_scan_run_rows", "Rows of the run, or of the scan's slice.", "run")
ROWS_LEFT = Gauge("fakescan_scan_rows_left", "Rows that the scan has still to do.", "run")
LAST_PART = Gauge(
    "fakescan_scan_last_part_timestamp_seconds",
    "Unix time of the latest part; before the first one, of the start.", "run",
)  # fmt: skip
ENGINES = Gauge("fakescan_scan_engines", "Engines by state: working, starting, lost (silent, or without a process).",
                "run", "state")  # fmt: skip
SHUNNED = Gauge("fakescan_scan_shunned_nodes", "Nodes that get no more engines, because none starts there.", "run")
RESTARTS = Counter("fakescan_scan_engine_restarts", "Processes of engines that were started again.", "run")
FAILURES = Counter(
    "fakescan_scan_engine_failures",
    "Engines lost, by reason: start (did not load), stalled (no output for stall_s), died, silent (its process hung), "
    "gone (its process ended without a word, as when memory or its node is lost).",
    "run", "reason",
)  # fmt: skip
ENGINE_WAIT = Gauge("fakescan_scan_engine_wait_seconds", "For how long no engine has worked; 0 while one does.", "run")
STORE_WAIT = Gauge("fakescan_scan_store_wait_seconds", "The longest wait for a store now; 0 without one.", "run")
STORES_WAITED = Gauge("fakescan_scan_stores_waited", "Stores that are waited for now.", "run")

_LOOK_S = 5.0
"""Seconds between two looks at engines and stores; Ray passes metrics on every ten."""
_ANSWER_S = 5.0
"""Seconds in which the ledger must answer."""


class ScanMetrics:
    """One scan, as its driver records it."""

    def __init__(self, run: RunFile, output: str, rows: int, left: int) -> None:
        """A scan of so many rows begins, of which so many are left."""
        self._run = run.run_id[:SHORT_ID]
        self._left = left
        self._worked_at = time.monotonic()
        self._told = _Told()
        INFO.set(1, run=self._run, output=redact(output), model=run.model, version=fakevlm.__version__)
        RUN_ROWS.set(rows, run=self._run)
        ROWS_LEFT.set(left, run=self._run)
        LAST_PART.set(time.time(), run=self._run)
        self._waits([])
        ENGINE_WAIT.set(0, run=self._run)
        for counter in (COPIES, PARTS, PART_BYTES, RESTARTS):
            counter.start(run=self._run)
        if run.strip.is_on:
            for counter in (STRIP_ROWS, STRIP_CHANGES, STRIP_PREFILLS, STRIP_FAILURES):
                counter.start(run=self._run)
        for outcome in (*Verdict, *ErrorCode):
            ROWS.start(run=self._run, outcome=str(outcome))
        for reason in get_args(Loss):
            FAILURES.start(run=self._run, reason=reason)

    def add(self, part: PartSummary, rows: int) -> None:
        """A part of so many rows was written; `part.counts` are those of them that were done now."""
        run, counts = self._run, part.counts
        for outcome, number in (("real", counts.real), ("fake", counts.fake), ("uncertain", counts.uncertain)):
            ROWS.add(number, run=run, outcome=outcome)
        for code, number in counts.errors.items():
            ROWS.add(number, run=run, outcome=str(code))
        self._add_strip(part.strip)
        COPIES.add(part.copies, run=run)
        PARTS.add(1, run=run)
        PART_BYTES.add(part.part_bytes, run=run)
        self._left = max(self._left - rows, 0)
        ROWS_LEFT.set(self._left, run=run)
        LAST_PART.set(time.time(), run=run)

    def _add_strip(self, strip: StripCounts) -> None:
        if strip.looked:
            STRIP_ROWS.add(strip.looked, run=self._run)
            STRIP_CHANGES.add(strip.unstable, run=self._run)
            STRIP_PREFILLS.add(strip.variants, run=self._run)
            STRIP_FAILURES.add(strip.failed, run=self._run)

    @contextmanager
    def following(self, ledger: Any) -> Iterator[None]:
        """Looks meanwhile at the engines and stores that the scan's ledger knows of."""
        try:
            with asking(
                lambda: [ledger.situation.remote(), ledger.store_waits.remote()],
                self._look,
                name="scan-metrics",
                every_s=_LOOK_S,
                answer_s=_ANSWER_S,
                at_end=True,
            ):
                yield
        finally:
            self._end()

    def _look(self, situation: Situation, waits: list[Wait]) -> None:
        self._engines(situation)
        self._waits([*waits, *WAITS.current()])

    def _engines(self, situation: Situation) -> None:
        run, now = self._run, time.monotonic()
        states = {"working": situation.working, "starting": situation.starting, "lost": situation.lost}
        for state, number in states.items():
            ENGINES.set(number, run=run, state=state)
        SHUNNED.set(len(situation.shunned), run=run)
        if situation.working:
            self._worked_at = now
        ENGINE_WAIT.set(0 if situation.working else now - self._worked_at, run=run)
        restarts, failures = self._told.news(situation)
        RESTARTS.add(restarts, run=run)
        for reason, number in failures.items():
            FAILURES.add(number, run=run, reason=reason)

    def _waits(self, waits: list[Wait]) -> None:
        STORE_WAIT.set(max((wait.seconds for wait in waits), default=0), run=self._run)
        STORES_WAITED.set(len({wait.store for wait in waits}), run=self._run)

    def _end(self) -> None:
        """This process may live on, and do other scans."""
        forget(run=self._run)


class _Told:
    """What the ledger has said of restarts and failures; one that was started again begins at 0."""

    def __init__(self) -> None:
        self._ledger = ""
        self._restarts = 0
        self._failures: Mapping[str, int] = {}

    def news(self, situation: Situation) -> tuple[int, dict[str, int]]:
        """Restarts, and failures by reason, since the last call."""
        if situation.ledger != self._ledger:
            self._ledger, self._restarts, self._failures = situation.ledger, 0, {}
        restarts = situation.restarts - self._restarts
        failures = {reason: number - self._failures.get(reason, 0) for reason, number in situation.losses.items()}
        self._restarts, self._failures = situation.restarts, dict(situation.losses)
        return restarts, failures
