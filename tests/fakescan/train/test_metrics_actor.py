"""Metrics actor: what it was told it still knows when it has been started again."""

from pathlib import Path
from typing import Any

import pytest

from fakescan.cluster import lasting_actor_options
from fakescan.train.folder import continue_log
from fakescan.train.metrics_actor import Fault, MetricsActor, StepMetrics, TrainResult

ENTRIES = [
    StepMetrics(step=number, at=1e9 + number, loss=0.1 * number, metrics={"eval_auroc": 0.5} if number == 3 else {})
    for number in range(1, 6)
]


def said(fault: Fault | None) -> str | None:
    return None if fault is None else fault.message


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "journal.jsonl")


@pytest.mark.unit
def test_it_goes_on_where_it_was(journal: str) -> None:
    first = MetricsActor(journal)
    for entry in ENTRIES[:3]:
        first.add(entry)
    assert first.take(0) == ENTRIES[:3]
    assert first.take(2) == ENTRIES[2:3]
    first.report_fault("lr: too high")
    second = MetricsActor(journal)
    assert second.take(0) == ENTRIES[:3]
    assert (said(second.fault()), second.is_stopped()) == ("lr: too high", False)
    second.report_fault("another")
    second.stop()
    for entry in ENTRIES[3:]:
        second.add(entry)
    third = MetricsActor(journal)
    assert third.take(3) == ENTRIES[3:]
    assert (said(third.fault()), third.is_stopped()) == ("lr: too high", True)


@pytest.mark.unit
def test_a_line_that_was_cut_short_costs_itself_alone(journal: str) -> None:
    first = MetricsActor(journal)
    first.add(ENTRIES[0])
    first.add(ENTRIES[1])
    data = Path(journal).read_bytes()
    Path(journal).write_bytes(data[:-9])
    second = MetricsActor(journal)
    assert second.take(0) == ENTRIES[:1]
    second.add(ENTRIES[1])
    assert MetricsActor(journal).take(0) == ENTRIES[:2]


@pytest.mark.unit
def test_a_disk_that_takes_nothing_does_not_stop_a_training(tmp_path: Path) -> None:
    actor = MetricsActor(str(tmp_path / "no such folder" / "journal.jsonl"))
    actor.add(ENTRIES[0])
    actor.stop()
    assert (actor.take(0), actor.is_stopped()) == (ENTRIES[:1], True)


@pytest.mark.cluster
def test_an_actor_that_is_killed_is_started_again_and_knows_it_all(ray_cluster: str, journal: str) -> None:
    import ray

    actor: Any = ray.remote(**lasting_actor_options())(MetricsActor).remote(journal)
    for entry in ENTRIES[:2]:
        actor.add.remote(entry)
    assert ray.get(actor.take.remote(0)) == ENTRIES[:2]
    actor.stop.remote()
    assert ray.get(actor.is_stopped.remote())
    ray.kill(actor, no_restart=False)
    ray.get([actor.add.remote(entry) for entry in ENTRIES[2:]])
    # What was under way as it ended may come twice, and in another order: the log is by steps.
    assert continue_log([], ray.get(actor.take.remote(0))) == ENTRIES
    assert ray.get(actor.is_stopped.remote())


@pytest.mark.unit
def test_starts_and_checkpoints_survive_as_well(journal: str) -> None:
    first = MetricsActor(journal)
    first.report_start()
    first.report_checkpoint(1.5)
    second = MetricsActor(journal)
    second.report_start()
    second.report_checkpoint(2.5)
    progress = MetricsActor(journal).progress()
    assert (progress.starts, progress.checkpoints, progress.checkpoint_s) == (2, 2, 2.5)
    assert progress.checkpoint_at > 0


@pytest.mark.unit
def test_causes_bad_images_and_the_result_survive_as_well(journal: str) -> None:
    first = MetricsActor(journal)
    first.report_start()
    first.report_cause("the store is away")
    assert [first.report_bad_image(name, "truncated: too short") for name in ("a.png", "b.png", "a.png")] == [1, 2, 2]
    first.report_start(40)
    first.report_fault("TMPDIR: full", is_mistake=False)
    result = TrainResult(steps=50, steps_per_epoch=10, samples=80, exported_step=40, metrics={"eval_auroc": 0.5})
    first.report_result(result)
    second = MetricsActor(journal)
    assert [(cause.start, cause.message) for cause in second.causes()] == [(1, "the store is away")]
    assert second.bad_images() == {"a.png": "truncated: too short", "b.png": "truncated: too short"}
    assert second.progress().start_step == 40
    assert second.fault() == Fault(message="TMPDIR: full", is_mistake=False)
    assert second.result() == result
