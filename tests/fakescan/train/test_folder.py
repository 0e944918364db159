"""The folder of a run: what binds it to its data and settings, how it is extended, and who may write to it."""

import json
from pathlib import Path
from typing import Any

import pytest

from fakescan.storage.lease import TRAINING, Lease
from fakescan.train.config import TrainConfig
from fakescan.train.folder import _SNAPSHOT, MODEL, SETTINGS, TrainFolder, is_listed
from fakescan.train.metrics_actor import TrainResult
from fakevlm.errors import UserError
from tests.striped import settings

pytestmark = pytest.mark.unit

FACTS: dict[str, Any] = {
    "weights_sha256": "a", "samples": 40, "steps": 10, "records": "r", "held_out": "val", "knows_generators": True,
    "precision": "fp32", "bad_images": [],
}  # fmt: skip
RESULT = TrainResult(steps=10, steps_per_epoch=5, samples=40, exported_step=10)


def folder(storage: Path, **more: Any) -> TrainFolder:
    return TrainFolder(TrainConfig.model_validate(settings("m", "d", storage, zero=0, **more)))


def finished(storage: Path, result: TrainResult = RESULT, **more: Any) -> TrainFolder:
    """A run that was trained to its end."""
    run = folder(storage, **more)
    run.claim(FACTS)
    (storage / "train" / _SNAPSHOT).write_text(
        '{"checkpoint_results": [], "pending_training_results": [], "latest_checkpoint_result": null}'
    )
    (storage / "train" / MODEL).mkdir()
    (storage / "train" / MODEL / "config.json").write_text("{}")
    run.finish(result)
    return run


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ({"records": "other"}, r"records was r, now other \(a hash of the data's records, in order: .*exclude"),
        ({"samples": 39, "records": "other"}, r"records was r, now other .*; samples was 40, now 39\)"),
        ({"weights_sha256": "b"}, r"weights_sha256 was a, now b"),
    ],
)
def test_a_run_is_bound_to_the_records_themselves(tmp_path: Path, fact: dict[str, Any], message: str) -> None:
    run = finished(tmp_path)
    for act in (run.claim, run.finished):
        with pytest.raises(UserError, match=message) as caught:
            act({**FACTS, **fact})
        assert "\n" not in str(caught.value)


def test_what_earlier_versions_did_not_write_down_is_no_change(tmp_path: Path) -> None:
    run = folder(tmp_path)
    run.claim({name: FACTS[name] for name in ("weights_sha256", "samples", "steps", "precision", "bad_images")})
    (tmp_path / "train" / _SNAPSHOT).write_text(
        '{"checkpoint_results": [], "pending_training_results": [], "latest_checkpoint_result": null}'
    )
    run.claim(FACTS)


@pytest.mark.parametrize("change", [{"exclude": ["a.png"]}, {"max_bad_images": 3}, {"decode_images": False}])
def test_records_may_be_left_out_without_losing_the_run(tmp_path: Path, change: dict[str, Any]) -> None:
    finished(tmp_path)
    folder(tmp_path, **change).claim(FACTS)


def test_images_that_were_left_out_stay_so(tmp_path: Path) -> None:
    run = finished(tmp_path)
    assert run.claim({**FACTS, "bad_images": ["b.png"]}) == {"b.png"}
    assert run.claim({**FACTS, "bad_images": ["a.png"]}) == {"a.png", "b.png"}


def test_a_finished_run_is_finished_until_there_is_more_to_do(tmp_path: Path) -> None:
    assert folder(tmp_path / "none").finished(FACTS) is None
    run = finished(tmp_path)
    without_precision = {name: value for name, value in FACTS.items() if name != "precision"}
    assert run.finished(without_precision) == RESULT
    assert folder(tmp_path, max_steps=20).finished({**FACTS, "steps": 20}) is None
    assert folder(tmp_path, epochs=4).finished({**FACTS, "steps": 20}) is None
    (tmp_path / "train" / MODEL / "config.json").unlink()
    assert run.finished(FACTS) is None, "its model is gone, and is made again"


def test_a_run_that_an_earlier_version_has_finished_is_finished(tmp_path: Path) -> None:
    run = folder(tmp_path)
    run.claim({name: FACTS[name] for name in ("weights_sha256", "samples", "precision", "bad_images")} | {"steps": 10})
    train = tmp_path / "train"
    settings_file = json.loads((train / SETTINGS).read_text())
    for name in ("steps", "bad_images"):
        del settings_file[name]
    (train / SETTINGS).write_text(json.dumps(settings_file))
    snapshot = {"latest_checkpoint_result": {"metrics": {"step": 8}}}
    (train / _SNAPSHOT).write_text(json.dumps(snapshot))
    (train / MODEL).mkdir()
    for name in ("config.json", "tokenizer_config.json"):
        (train / MODEL / name).write_text("{}")
    assert run.finished(FACTS) is None
    snapshot["latest_checkpoint_result"]["metrics"]["step"] = 10
    (train / _SNAPSHOT).write_text(json.dumps(snapshot))
    result = run.finished(FACTS)
    assert result is not None
    assert (result.steps, result.steps_per_epoch) == (10, 5)
    (train / MODEL / "tokenizer_config.json").unlink()
    assert run.finished(FACTS) is None, "its upload was cut short"


def test_a_run_is_extended_and_not_shortened(tmp_path: Path) -> None:
    finished(tmp_path)
    longer = folder(tmp_path, max_steps=20)
    longer.claim({**FACTS, "steps": 20})
    with pytest.raises(UserError, match=r"\(max_steps was 20, now 8 \(a run can be extended, not shortened\)\)"):
        folder(tmp_path, max_steps=8).claim({**FACTS, "steps": 8})
    with pytest.raises(UserError, match=r"schedule_steps was not set, now 40"):
        folder(tmp_path, max_steps=20, schedule_steps=40).claim({**FACTS, "steps": 20})


def test_a_run_that_ended_early_goes_on_with_more_patience(tmp_path: Path) -> None:
    early = TrainResult(steps=6, steps_per_epoch=5, samples=40, exported_step=4, stopped_early=True)
    run = finished(tmp_path, early, best_by="auroc", patience=1)
    assert run.finished(FACTS) == early
    assert folder(tmp_path, best_by="auroc", patience=2).finished(FACTS) is None
    assert folder(tmp_path, best_by="auroc").finished(FACTS) is None
    with pytest.raises(UserError, match="best_by was auroc, now log_loss"):
        folder(tmp_path, best_by="log_loss", patience=1).finished(FACTS)


def test_asking_whether_a_run_is_finished_writes_nothing(tmp_path: Path) -> None:
    run = finished(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    run.finished(FACTS)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_workers_see_that_the_lease_is_somebody_elses(tmp_path: Path) -> None:
    run = folder(tmp_path)
    with run.lease() as lease:
        assert run.is_ours(lease.owner)
        other = Lease(run.fs, f"{run.path}/lease.json", TRAINING)
        other.acquire(force=True)
        assert not run.is_ours(lease.owner), "though the driver may be suspended, and not have noticed"
        other.release()
    assert not run.is_ours(lease.owner), "given back"


def test_the_settings_of_before_are_in_the_folder(tmp_path: Path) -> None:
    finished(tmp_path)
    text = (tmp_path / "train" / SETTINGS).read_text()
    assert '"records": "r"' in text


def test_a_checkpoint_that_is_not_listed_is_not_whole(tmp_path: Path) -> None:
    run = finished(tmp_path)
    assert not is_listed(run.fs, run.path, "checkpoint_0000004")
    text = '{"checkpoint_results": [{"checkpoint_dir_name": "checkpoint_0000004", "metrics": {}}]}'
    (tmp_path / "train" / _SNAPSHOT).write_text(text)
    assert is_listed(run.fs, run.path, "checkpoint_0000004")
    assert not is_listed(run.fs, run.path, "checkpoint_0000008")
    (tmp_path / "train" / _SNAPSHOT).unlink()
    assert is_listed(run.fs, run.path, "checkpoint_0000004"), "nobody knows, as of a copy"
