"""Training through its public command: real Ray Train, DeepSpeed, kills and resumption, on a tiny model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakescan.train.config import TrainConfig
from fakescan.train.driver import run_train
from fakescan.train.folder import TrainFolder
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.errors import UserError
from tests.striped import settings
from tests.training import assert_same_weights, losses

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


@pytest.mark.parametrize("kind", ["zero 3"])  # ZeRO 2 in the drills
def test_two_workers_learn_as_one_does(kind: str, plain: Any, trained: Callable[[str], Any]) -> None:
    done = trained(kind)
    assert losses(Path(done.url)) == pytest.approx(losses(Path(plain.url)), rel=2e-3)
    assert_same_weights(Path(done.model), Path(plain.model))


def test_more_workers_than_the_cluster_has(tiny_model: Path, labelled: Path, tmp_path: Path, ray_cluster: str) -> None:
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path, workers=8, batch_size=16))
    with pytest.raises(UserError, match=r"^workers: 8 .* need 8 CPUs, the cluster has 4; lower workers$"):
        run_train(config, ray_address=ray_cluster)
    assert not list((tmp_path / "train").iterdir())


def test_a_second_training_of_a_running_one_is_refused(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path))
    with TrainFolder(config).lease(), pytest.raises(UserError, match=r"^name: another training is writing this run"):
        run_train(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": 1}, r"\(workers was 2, now 1 \(ZeRO's optimizer states are cut for that many\)\)"),
        ({"lr": 0.5}, r"\(lr was 0.001, now 0.5\); use another name, or the earlier settings$"),
    ],
)
def test_a_run_is_not_resumed_with_what_would_change_it(
    change: dict[str, Any],
    message: str,
    trained: Callable[[str], Any],
    tiny_model: Path,
    labelled: Path,
    ray_cluster: str,
) -> None:
    storage = Path(trained("zero 3").url).parent
    config = TrainConfig.model_validate(settings(tiny_model, labelled, storage, zero=3, **change))
    with pytest.raises(UserError, match=rf"^name: \S+ was started with different settings {message}"):
        run_train(config, ray_address=ray_cluster)
