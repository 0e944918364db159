"""What starting engines say: gathered in the ledger, shown while nothing is judged yet."""

import io
from typing import Any

import pytest

from fakescan.scan.engines import stages as engine_stages
from fakescan.scan.engines.stages import EngineStages, Stage, StepReporter
from fakescan.scan.progress import ScanDisplay
from fakevlm.checkpoint.progress import Step

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("plain_terminal")]


def stage_of(*steps: Step) -> Stage:
    stages = EngineStages()
    for number, step in enumerate(steps):
        stages.report_step(f"engine-{number}", step)
    return stages.stage()


def test_one_engine_and_how_far_it_is() -> None:
    assert stage_of() == Stage()
    assert stage_of(Step("loading the engine")) == Stage("loading the engine")
    assert stage_of(Step("hashing the model", 3_200_000_000, 14_100_000_000)) == Stage(
        "hashing the model", "3.2 GB of 14.1 GB"
    )


def test_of_several_engines_the_one_is_shown_that_has_something_to_count() -> None:
    waiting = Step("waiting for another process that downloads owner/name")
    assert stage_of(waiting, Step("downloading owner/name", 10**9, 14 * 10**9), waiting) == Stage(
        "3 engines: 1 downloading owner/name, 2 waiting for another process that downloads owner/name",
        "1.0 GB of 14.0 GB",
    )
    assert stage_of(Step("loading the engine"), Step("loading the engine")) == Stage("2 engines: loading the engine")


def test_an_engine_that_has_started_is_not_shown() -> None:
    stages = EngineStages()
    stages.report_step("one", Step("testing the engine"))
    stages.report_step("two", Step("loading the engine"))
    stages.report_step("one", None)
    stages.report_step("three", None)
    assert stages.stage() == Stage("loading the engine")


class Call:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def remote(self, *arguments: Any) -> None:
        self.calls.append(arguments)


class Ledger:
    """Where an actor's handle would be."""

    def __init__(self) -> None:
        self.report_step = Call()


def test_an_engine_reports_every_step_and_seldom_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_stages, "_TELL_S", 1000.0)
    ledger = Ledger()
    reporter = StepReporter(ledger, "one")
    for done in range(100):
        reporter(Step("hashing the model", done, 100))
    reporter(Step("loading the engine"))
    reporter.end()
    assert ledger.report_step.calls == [
        ("one", Step("hashing the model", 0, 100)),
        ("one", Step("loading the engine")),
        ("one", None),
    ]


def show(display: ScanDisplay, loading: int, loaded: int, stage: Stage) -> None:
    display.engine_stage(stage)
    display.engines(loading, loaded)


def test_the_display_says_what_the_engines_do() -> None:
    stream = io.StringIO()
    with ScanDisplay(stream=stream) as display:
        display.begin(2000, 0)
        show(display, 0, 0, Stage("never shown", "before an engine has begun"))
        show(display, 1, 0, Stage("hashing the model", "1.0 GB of 14.1 GB"))
        show(display, 1, 0, Stage("hashing the model", "2.0 GB of 14.1 GB"))
        display._say()
        show(display, 1, 0, Stage("loading the engine (14.1 GB of weights)"))
        show(display, 1, 0, Stage("testing the engine"))
        show(display, 1, 1, Stage())
    assert stream.getvalue().splitlines() == [
        "0/2,000  waiting for the engine's process",
        "0/2,000  hashing the model: 1.0 GB of 14.1 GB",
        "0/2,000  hashing the model: 2.0 GB of 14.1 GB",
        "0/2,000  loading the engine (14.1 GB of weights)",
        "0/2,000  testing the engine",
        "0/2,000  judging the first images",
    ]
