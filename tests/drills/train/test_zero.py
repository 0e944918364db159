"""ZeRO with two workers: it learns as plain torch with one does, and its export is whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakescan.train.config import TrainConfig
from fakescan.train.driver import run_train
from fakevlm.errors import UserError
from tests.fakescan.train.result.test_export import assert_they_say_the_same
from tests.striped import settings
from tests.training import assert_same_weights, losses

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.mark.parametrize("kind", ["zero 2", "zero 3"])
def test_it_learns_as_one_worker_does_and_its_export_says_the_same(
    kind: str, plain: Any, trained: Callable[[str], Any]
) -> None:
    done = trained(kind)
    assert losses(Path(done.url)) == pytest.approx(losses(Path(plain.url)), rel=2e-3)
    assert_same_weights(Path(done.model), Path(plain.model))
    assert_they_say_the_same(done.model)


def test_a_run_is_not_resumed_with_other_workers(
    trained: Callable[[str], Any], tiny_model: Path, labelled: Path, ray_cluster: str
) -> None:
    storage = Path(trained("zero 3").url).parent
    config = TrainConfig.model_validate(settings(tiny_model, labelled, storage, zero=3, workers=1))
    message = r"\(workers was 2, now 1 \(ZeRO's optimizer states are cut for that many\)\)"
    with pytest.raises(UserError, match=rf"^name: \S+ was started with different settings {message}"):
        run_train(config, ray_address=ray_cluster)
