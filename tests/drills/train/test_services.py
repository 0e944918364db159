"""Weights & Biases and MLflow for real, without a network: W&B's offline folder, MLflow's database and folder."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest

from fakescan.train.metrics_actor import StepMetrics
from fakescan.train.tracking.services import check_trackers, trackers_of
from fakescan.train.tracking.tracker import TrackedRun
from fakescan.train.tracking.trackers import IDS, Restart, TrackerIds, Trackers

pytestmark = pytest.mark.unit

SECRET = "hush-this-is-a-secret"


def entries(first: int, last: int) -> list[StepMetrics]:
    return [
        StepMetrics(
            step=step, at=1.7e9 + step, loss=1 / step, samples=8, metrics={"eval_auroc": 0.5} if step % 2 else {}
        )
        for step in range(first, last + 1)
    ]


def track(name: str, folder: Path, log: list[StepMetrics], last_step: int = 0, **more: Any) -> str:
    """One start of a run that is tracked; where it is shown."""
    run = TrackedRun(
        name="striped", url=str(folder), parameters={"lr": 0.1, "max_steps": 4, **more}, folder=str(folder),
        last_step=last_step,
    )  # fmt: skip
    trackers = Trackers(trackers_of([name]), run, TrackerIds(fsspec.filesystem("file"), str(folder)))
    trackers.start()
    trackers.publish(log)
    trackers.restarted(Restart(2, 1, "a worker died"))
    trackers.close("finished", {"steps": log[-1].step})
    (place,) = trackers.places
    return place


@pytest.fixture(params=["sqlite", "file"])
def mlflow_uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("mlflow")
    if request.param == "sqlite":
        pytest.importorskip("sqlalchemy")
        uri = f"sqlite:///{tmp_path}/mlflow.db"
    else:
        uri = (tmp_path / "mlruns").as_uri()
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # its maker would rather see a database
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def test_mlflow(mlflow_uri: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    check_trackers(["mlflow"])
    place = track("mlflow", tmp_path, entries(1, 4))
    id = json.loads((tmp_path / IDS).read_text())["mlflow"]
    assert place == f"mlflow: {mlflow_uri} run {id}"
    track("mlflow", tmp_path, entries(1, 6), last_step=4, max_steps=6)  # extended: the same run goes on
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("fakescan")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.run_name, run.info.status) == (id, "striped", "FINISHED")
    assert run.data.params["max_steps"] == "4", "it cannot change"
    assert run.data.tags["now.max_steps"] == "6"
    assert run.data.tags["last_restart"] == "from step 2: a worker died"
    assert (run.data.tags["ending"], run.data.tags["steps"]) == ("finished", "6")
    losses = client.get_metric_history(id, "train/loss")
    assert [(metric.step, round(metric.value, 3)) for metric in losses] == [
        (step, round(1 / step, 3)) for step in range(1, 7)
    ]
    assert [metric.step for metric in client.get_metric_history(id, "eval/auroc")] == [1, 3, 5]
    client.delete_run(id)
    track("mlflow", tmp_path, entries(1, 2))
    assert json.loads((tmp_path / IDS).read_text())["mlflow"] != id, "one that was deleted is begun anew"


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes of their own, as the command is: W&B keeps one service for each."""
    pytest.importorskip("wandb")
    paths = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_API_KEY": SECRET, "PYTHONPATH": paths}
    for first, last in ((0, 4), (4, 6)):
        code = (
            "from pathlib import Path\n"
            "from tests.drills.train.test_services import entries, track\n"
            f"print(track('wandb', Path({str(tmp_path)!r}), entries(1, {last}), last_step={first}))"
        )
        command = [sys.executable, "-c", code, "--set", f"storage_store.options.secret={SECRET}"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        (line,) = ended.stdout.splitlines()
        assert line.startswith(f"wandb: {tmp_path}/wandb/offline-run-"), "and W&B itself says nothing"
        assert ended.stderr == ""
    id = json.loads((tmp_path / IDS).read_text())["wandb"]
    first_run, second_run = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert first_run.name.endswith(id)
    assert second_run.name.endswith(id), "wandb sync puts both into one run"
    assert [step for step, _ in history(first_run)] == [1, 2, 3, 4]
    assert [step for step, _ in history(second_run)] == [5, 6]
    assert history(second_run)[0][1]["train/loss"] == pytest.approx(0.2)
    assert summary(second_run)["restarts"] == 1
    assert summary(second_run)["ending"] == "finished"
    everything = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in data for data in everything), "neither the key nor the command line is written"


def wandb_records(run: Path) -> list[Any]:
    """What W&B's file holds: a log in LevelDB's format, in blocks of 32 KiB, behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = run.glob("*.wandb")
    data, at, block = file.read_bytes(), 7, 2**15
    assert data.startswith(b":W&B")
    found, whole = [], b""
    while at + 7 <= len(data):
        if block - at % block < 7:  # no room for another header
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(whole))
            whole = b""
    return found


def history(run: Path) -> list[tuple[int, dict[str, Any]]]:
    """Step and values of what was logged."""
    rows = []
    for record in wandb_records(run):
        if record.WhichOneof("record_type") == "history":
            values = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
            }
            rows.append((int(values.get("_step", record.history.step.num)), values))
    return rows


def summary(run: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for record in wandb_records(run):
        if record.WhichOneof("record_type") == "summary":
            values |= {item.key: json.loads(item.value_json) for item in record.summary.update}
    return values
