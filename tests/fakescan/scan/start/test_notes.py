"""Notes of a scan: parts' facts reach the cache, and run.json says which versions and devices judged."""

import logging

import pytest

import fakevlm
from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.run.counts import Counts
from fakescan.run.facts.written import facts_of_written
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import JudgedBy
from fakescan.scan.start.notes import ScanNotes, versions_of
from fakescan.scan.start.plan import make_plan
from fakescan.scan.tables import PartSummary
from tests.fakescan.run.conftest import run_folder

pytestmark = pytest.mark.unit
__all__ = ["run_folder"]

ENGINE = SimulatedConfig()


def summary(folder: RunFolder, shard: int, device: str = "NVIDIA H100") -> PartSummary:
    """What the driver hears of a part that was written just now."""
    data = folder.part_data(shard)
    assert data is not None
    folder.write_part(shard, data)
    facts = facts_of_written(folder, folder.open().sharding, shard, data)
    part = PartSummary(shard, Counts(16, 16), engine={"id": "e", "device": device}, facts=facts)
    return PartSummary.from_row(part.to_table().to_pylist()[0])  # as it comes out of the pipeline


def note(folder: RunFolder, *parts: PartSummary, is_resumed: bool = True) -> None:
    notes = ScanNotes(folder, folder.open(), ENGINE, is_resumed=is_resumed)
    for part in parts:
        notes(part)
    notes.close()


def test_the_next_start_reads_no_part_that_this_one_wrote(
    run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(run_folder, *(summary(run_folder, shard) for shard in range(4)), is_resumed=False)
    monkeypatch.setattr(RunFolder, "part_data", lambda self, shard: pytest.fail(f"part {shard} was read"))
    plan = make_plan(run_folder, run_folder.open(), retry_errors=True)
    assert plan.todo.tolist() == plan.retried.tolist() == [0, 1, 2]
    assert plan.sound.tolist() == [0, 1, 2, 3]
    assert plan.before == Counts(2, 1, 1)
    plan = make_plan(run_folder, run_folder.open(), retry_errors=False)
    assert plan.todo.tolist() == []
    assert plan.before == Counts(50, 22, 21, 0, {"not_found": 7})
    assert plan.earlier_errors == {"not_found": 0}
    assert plan.last_scanned_at is not None


def test_run_json_says_what_judged(run_folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    before = run_folder.open()
    note(run_folder, summary(run_folder, 0), summary(run_folder, 1, "NVIDIA A100"), is_resumed=False)
    note(run_folder, summary(run_folder, 2))
    (entry,) = run_folder.open().judged_by
    assert entry.versions == versions_of(ENGINE) == {"fakescan": fakevlm.__version__}
    assert entry.devices == ("NVIDIA H100", "NVIDIA A100")
    assert run_folder.open().model_copy(update={"judged_by": ()}) == before, "nothing else has changed"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_another_device_is_named(run_folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    note(run_folder, summary(run_folder, 0), is_resumed=False)
    note(run_folder, summary(run_folder, 1, "Intel Xeon"), summary(run_folder, 2, "Intel Xeon"))
    (warning,) = caplog.messages
    assert warning == (
        "this run was judged on NVIDIA H100 before, and now on Intel Xeon; scores may differ in their last digits"
    )


def test_other_versions_are_named(run_folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    run = run_folder.open()
    old = JudgedBy(since=run.created_at, versions={"fakescan": "0.0.9", "torch": "2.1"}, devices=("NVIDIA H100",))
    run_folder.save(run.model_copy(update={"judged_by": (old,)}))
    note(run_folder, summary(run_folder, 0))
    (warning,) = caplog.messages
    assert warning.startswith(f"this run was judged with other versions: fakescan 0.0.9 before, {fakevlm.__version__} ")
    assert [entry.versions["fakescan"] for entry in run_folder.open().judged_by] == ["0.0.9", fakevlm.__version__]


def test_a_run_of_an_earlier_version_has_only_fakescans_own(
    run_folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    run_folder.save(run_folder.open().model_copy(update={"fakescan_version": "0.0.8"}))
    note(run_folder)
    assert "fakescan 0.0.8 before" in caplog.text


def test_the_versions_of_the_real_engine() -> None:
    assert {"fakescan", "torch", "transformers", "pillow"} <= versions_of(VllmConfig()).keys()
