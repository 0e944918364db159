"""Training through its public command: real Ray Train, DeepSpeed, kills and resumption, on a tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.main import main
from fakescan.storage.store import Store
from fakescan.train.config import TrainConfig
from fakescan.train.driver import run_train
from fakescan.train.folder import TrainFolder
from fakescan.train.preflight.inputs import open_inputs
from fakescan.train.result.from_checkpoint import export_checkpoint
from fakevlm.checkpoint.card import read_card, write_card
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration
from tests.fakescan.train.conftest import KINDS
from tests.striped import settings
from tests.training import losses

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]


def test_a_run_learns_and_leaves_log_plot_tensorboard_and_model(plain: Any) -> None:
    folder = Path(plain.url)
    assert [entry.step for entry in plain.log] == list(range(1, 11))
    assert losses(folder)[-1] < losses(folder)[0]
    assert plain.log[-1].metrics["eval_samples"] == 16
    assert {entry.samples for entry in plain.log} == {8}
    assert (folder / "metrics.png").read_bytes().startswith(b"\x89PNG")
    assert any((folder / "tensorboard").iterdir())
    opened = open_checkpoint(plain.model)
    assert opened.trained
    assert opened.path == Path(plain.model)  # the hub's layout needs no converted copy


@pytest.fixture
def copy_of_plain(plain: Any, tmp_path: Path) -> Path:
    """The folder of the undisturbed run, in another place, which settings may change, for a test that may spoil it."""
    return Path(shutil.copytree(plain.url, tmp_path / "runs" / "train"))


def test_a_finished_run_says_so_and_nothing_is_written(
    copy_of_plain: Path, tiny_model: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_of_plain
    calibration = Calibration(temperature=2.0, threshold=0.7, prior=0.5)
    write_card(folder / "model", read_card(folder / "model").model_copy(update={"calibration": calibration}))
    before = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}
    config = settings(tiny_model, labelled, folder.parent, **KINDS["plain"])
    file = folder.parent / "train.yaml"
    file.write_text(json.dumps(config))
    with pytest.raises(SystemExit) as exit:
        main(["train", str(file)])  # Ray is not even asked
    assert exit.value.code == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"finished already: {folder}/model; nothing was written"
    assert said[1] == "step 10, 2 epochs; to train on, raise epochs, or name another run"
    assert said[2].startswith("held out: 16 samples   accuracy ")
    after = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}
    assert after == before
    assert read_card(folder / "model").calibration == calibration


def test_a_run_is_not_resumed_with_other_data(
    copy_of_plain: Path, tiny_model: Path, labelled: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(labelled, tmp_path / "data"))
    file = data / "data_json" / "train.json"
    records = json.loads(file.read_text())
    config = TrainConfig.model_validate(
        settings(tiny_model, data, copy_of_plain.parent, **KINDS["plain"], max_steps=20, epochs=4)
    ).model_copy(update={"data": str(labelled)})
    assert run_of(config) is None, "there is more to do"
    file.write_text(json.dumps([*records[1:], records[0]]))  # as many, and the same ones
    with pytest.raises(UserError, match=r"records was \w+, now \w+ \(a hash of the data's records, in order"):
        run_of(config, data)


def run_of(config: TrainConfig, data: Path | None = None) -> Any:
    """What the run that the settings name says of itself; its data may have moved."""
    inputs = open_inputs(config if data is None else config.model_copy(update={"data": str(data)}))
    return TrainFolder(config).finished(inputs.facts)


def test_the_card_and_the_result_have_the_runs_own_numbers(plain: Any) -> None:
    text = (Path(plain.model) / "README.md").read_text()
    assert "10 optimizer steps, 2 epochs" in text
    assert "On 16 images of the split `val` at step 10" in text
    assert f"| AUROC | {plain.log[-1].metrics['eval_auroc']:.4f} |" in text
    assert (plain.result.steps, plain.result.exported_step, plain.restarts) == (10, 10, 0)
    assert plain.result.metrics == plain.log[-1].metrics


def test_the_model_of_a_checkpoint(copy_of_plain: Path, tiny_model: Path, plain: Any) -> None:
    checkpoint = next(iter(sorted(copy_of_plain.glob("checkpoint_*/"))))
    made = export_checkpoint(str(checkpoint), None, Store())
    step = int(checkpoint.name.removeprefix("checkpoint_"))
    assert (made.url, made.result.exported_step) == (f"{copy_of_plain}/model-{step}", step)
    assert "4 optimizer steps, 0.8 epochs" in (Path(made.url) / "README.md").read_text() or step != 4
    last = export_checkpoint(str(copy_of_plain / "checkpoint_0000010"), str(copy_of_plain / "again"), Store())
    assert open_checkpoint(last.url).weights_sha256 == open_checkpoint(plain.model).weights_sha256
    with pytest.raises(UserError, match=r"^output: .*again holds a model already"):
        export_checkpoint(str(checkpoint), last.url, Store())
    with pytest.raises(UserError, match=r"^checkpoint: .* is not in the folder of a training"):
        export_checkpoint(str(tiny_model), None, Store())


def test_more_workers_than_the_cluster_has(tiny_model: Path, labelled: Path, tmp_path: Path, ray_cluster: str) -> None:
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path, workers=8, batch_size=16))
    with pytest.raises(UserError, match=r"^workers: 8 .* need 8 CPUs, the cluster has 4; lower workers$"):
        run_train(config, ray_address=ray_cluster)
    assert not list((tmp_path / "train").iterdir())


def test_a_second_training_of_a_running_one_is_refused(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path))
    with TrainFolder(config).lease(), pytest.raises(UserError, match=r"^name: another training is writing this run"):
        run_train(config)


def test_a_run_is_not_resumed_with_what_would_change_it(plain: Any, tiny_model: Path, labelled: Path) -> None:
    change = {**KINDS["plain"], "lr": 0.5}
    config = TrainConfig.model_validate(settings(tiny_model, labelled, Path(plain.url).parent, **change))
    message = r"\(lr was 0.001, now 0.5\); use another name, or the earlier settings$"
    with pytest.raises(UserError, match=rf"^name: \S+ was started with different settings {message}"):
        run_train(config)
