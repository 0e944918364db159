"""The loss of classes that count differently: the mean over tokens with each record as often as its weight."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakescan.train.config import TrainConfig
from fakescan.train.feed import Samples
from fakescan.train.plan import PADDING
from tests.fakescan.train.sampling.test_classes import training
from tests.striped import settings

pytestmark = pytest.mark.engine


def test_a_weighted_batch_is_the_mean_over_tokens_with_each_record_as_often_as_its_weight(
    tiny_model: Path, labelled: Path, tmp_path: Path
) -> None:
    """A weight of two is the record twice, to the accuracy of sums; micro-batches change nothing."""
    import torch

    from fakescan.train.loop import answer_loss
    from fakescan.train.model import load
    from fakescan.train.stepper import TorchStepper

    plain, _ = training(tiny_model, labelled, tmp_path)
    weighted, _ = training(tiny_model, labelled, tmp_path, class_weights={"fake": 2})
    fakes = [i for i, record in enumerate(plain.dataset.records) if record.is_fake][:2]
    reals = [i for i, record in enumerate(plain.dataset.records) if not record.is_fake][:2]
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path, workers=1, zero=0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load(config, plain.checkpoint, bf16=False, gpu=False)
        stepper = TorchStepper(model, config, torch.device("cpu"), bf16=False)

    def gradient(samples: Samples, *parts: list[int]) -> tuple[float, Any]:
        batches = [samples.batch(np.array(part)) for part in parts]
        weight = sum(batch.answer_weight for batch in batches)
        total = 0.0
        model.zero_grad()
        for batch in batches:
            loss = answer_loss(stepper, batch) / weight
            loss.backward()
            total += float(loss.detach())
        return total, torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])

    loss, grad = gradient(weighted, [*fakes, *reals])
    twice, grad_twice = gradient(plain, [*fakes, *fakes, *reals])
    parts, grad_parts = gradient(weighted, [fakes[0], reals[1]], [reals[0], fakes[1], PADDING])
    assert loss == pytest.approx(twice, rel=1e-5) == pytest.approx(parts, rel=1e-5)
    for other in (grad_twice, grad_parts):
        assert torch.allclose(grad, other, rtol=1e-3, atol=1e-6)
    unweighted, _ = gradient(plain, [*fakes, *reals])
    assert unweighted != pytest.approx(loss, rel=1e-4)
