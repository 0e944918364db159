"""The lines that a start prints."""

import pytest

from fakescan.serve.operation import start_progress
from fakescan.serve.operation.start_progress import StartLines, StartReport
from fakevlm.checkpoint.progress import Step

pytestmark = pytest.mark.unit


def test_each_step_is_said_once_and_long_ones_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    lines = StartLines(said.append)
    now = 0.0
    monkeypatch.setattr(start_progress.time, "monotonic", lambda: now)
    for at, what, words in (
        (0.0, "downloading x", "downloading x  1 MB of 9 MB"),
        (1.0, "downloading x", "downloading x  2 MB of 9 MB"),
        (1.0, "loading", "loading"),  # another replica is further
        (11.0, "downloading x", "downloading x  8 MB of 9 MB"),
        (30.0, "loading", "loading"),
    ):
        now = at
        lines._tell(what, words)
    assert said == [
        "starting: downloading x  1 MB of 9 MB",
        "starting: loading",
        "starting: downloading x  8 MB of 9 MB",
    ]


def test_a_start_without_a_cluster_costs_nothing() -> None:
    StartReport("replica")(Step("loading"))
    with StartLines(print):
        pass
