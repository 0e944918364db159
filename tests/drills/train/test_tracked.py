"""A training that is seen in Weights & Biases and MLflow: a worker's death, a second start, no secrets."""

import json
import os
from pathlib import Path

import pytest

from tests.drills.train.test_services import history, summary
from tests.striped import settings
from tests.training import checkpoints, output_of, started, train_command, until, workers_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_a_run_a_dead_worker_and_an_extension_are_one_run_there(
    tiny_model: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_API_KEY": "hush" * 10}
    config = settings(tiny_model, labelled, tmp_path, zero=0, workers=1, epochs=3, checkpoint_every=2)
    config |= {"trackers": ["wandb", "mlflow"]}
    process = started(train_command(tmp_path, config), env=environment)
    until(lambda: checkpoints(tmp_path / "train"), process, "the first checkpoint")
    events = list((tmp_path / "train" / "tensorboard").glob("events.out.tfevents.*.fakescan"))
    assert len(events) == 1, "TensorBoard has its file while the run goes on"
    workers_of(process)[0].kill()
    output = output_of(process)
    assert process.returncode == 0, output
    assert f"tracked by wandb: {tmp_path}/train/wandb/offline-run-" in output
    process = started(train_command(tmp_path, {**config, "epochs": 4}), env=environment)
    output = output_of(process)
    assert process.returncode == 0, output
    assert "does not take" not in output

    ids = json.loads((tmp_path / "train" / "trackers.json").read_text())
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("fakescan").experiment_id])
    assert (run.info.run_id, run.info.status) == (ids["mlflow"], "FINISHED")
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")] == list(range(1, 21))
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "train/restarts")] == [1]
    assert "it died without a word: killed" in run.data.tags["last_restart"]
    settings_file = json.loads((tmp_path / "train" / "train.json").read_text())
    assert run.data.params["records"] == settings_file["records"]
    assert run.data.params["weights_sha256"] == settings_file["weights_sha256"]
    assert run.data.params["epochs"] == "3"
    assert run.data.tags["now.epochs"] == "4"

    first, second = sorted((tmp_path / "train" / "wandb").glob("offline-run-*"))
    assert {first.name.rpartition("-")[2], second.name.rpartition("-")[2]} == {ids["wandb"]}
    assert [step for step, _ in history(first)] == list(range(1, 16))
    assert [step for step, _ in history(second)] == list(range(16, 21))
    assert summary(first)["restarts"] == 1
    everything = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"hush" * 10 in data for data in everything)
