"""Runs on a small labelled dataset that the tests share."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.striped import settings

KINDS: dict[str, dict[str, Any]] = {
    "plain": {"zero": 0, "workers": 1},
    "zero 0": {"zero": 0},
    "zero 2": {"zero": 2},
    "zero 3": {"zero": 3},
    "lora": {
        "zero": 2, "workers": 1, "llm": {"mode": "lora"}, "vision": {"mode": "frozen"},
        "projector": {"mode": "lora"}, "lora": {"rank": 4},
    },
}  # fmt: skip
"""Settings of the shared runs; two workers unless said otherwise."""


@pytest.fixture(scope="session")
def trained(
    tiny_model: Path, labelled: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: str
) -> Callable[[str], Any]:
    """What a run of one of KINDS left; each is made when it is first asked for."""
    from fakescan.train.config import TrainConfig
    from fakescan.train.driver import run_train

    @functools.cache
    def run(kind: str) -> Any:
        storage = tmp_path_factory.mktemp(kind.replace(" ", "-"))
        config = TrainConfig.model_validate(settings(tiny_model, labelled, storage, **KINDS[kind]))
        return run_train(config, ray_address=ray_cluster)

    return run


@pytest.fixture
def plain(trained: Callable[[str], Any]) -> Any:
    """An undisturbed run of plain torch with one worker, which the others are held against."""
    return trained("plain")
