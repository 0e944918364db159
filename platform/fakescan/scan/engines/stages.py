"""What engines say while they start: sent by each to the driver's ledger, and gathered there for those who watch."""

import time
from collections import Counter
from typing import Any, NamedTuple

from fakevlm.checkpoint.progress import Step

_TELL_S = 0.5
"""Seconds between two reports of the same step."""


class Stage(NamedTuple):
    """What the engines that have not started yet are doing."""

    what: str = ""
    """Such as `hashing the model`; empty where nothing is known."""
    detail: str = ""
    """How far that is, such as `3.2 GB of 14.1 GB`; empty where nothing is counted."""


UNKNOWN_STAGE = Stage()


class EngineStages:
    """The steps of engines that start. Part of the actor that the driver owns."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def report_step(self, engine: str, step: Step | None) -> None:
        """An engine is doing this now; None: it has started, or has failed to."""
        if step is None:
            self._steps.pop(engine, None)
        else:
            self._steps[engine] = step

    def stage(self) -> Stage:
        """What they are doing, those first that have something to count."""
        steps = sorted(self._steps.values(), key=lambda step: (step.total is None, step.what))
        if not steps:
            return UNKNOWN_STAGE
        furthest = max((step for step in steps if step.what == steps[0].what), key=lambda step: step.done)
        detail = str(furthest).removeprefix(furthest.what).strip()
        if len(steps) == 1:
            return Stage(furthest.what, detail)
        counts = Counter(step.what for step in steps)
        if len(counts) == 1:
            return Stage(f"{len(steps)} engines: {furthest.what}", detail)
        return Stage(f"{len(steps)} engines: {', '.join(f'{count} {what}' for what, count in counts.items())}", detail)


class StepReporter:
    """Sends the steps of one engine to the ledger; a call waits for nothing."""

    def __init__(self, ledger: Any, engine: str) -> None:
        self._ledger, self._engine = ledger, engine
        self._what, self._told_at = "", 0.0

    def __call__(self, step: Step) -> None:
        """Report a step when it begins, and now and then how far it is."""
        now = time.monotonic()
        if step.what == self._what and now - self._told_at < _TELL_S:
            return
        self._what, self._told_at = step.what, now
        self._ledger.report_step.remote(self._engine, step)

    def end(self) -> None:
        """The engine does not start any more."""
        self._ledger.report_step.remote(self._engine, None)
