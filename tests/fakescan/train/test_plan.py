"""The order of a run: every epoch sees every sample once, whoever computes it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.train.plan import PADDING, Plan, learning_rate

pytestmark = pytest.mark.unit


@given(
    samples=st.integers(1, 400),
    workers=st.integers(1, 5),
    micro=st.integers(1, 4),
    accumulate=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_every_epoch_sees_every_sample_once(samples: int, workers: int, micro: int, accumulate: int, seed: int) -> None:
    plan = Plan(samples, workers * micro * accumulate, epochs=2, max_steps=None, seed=seed)
    for epoch in range(2):
        seen = [
            plan.share(step, rank, workers, micro)
            for step in range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
            for rank in range(workers)
        ]
        assert all(part.shape == (accumulate, micro) for part in seen)
        indices = np.concatenate([part.ravel() for part in seen])
        assert sorted(indices[indices != PADDING].tolist()) == list(range(samples))


def test_a_step_has_the_same_samples_for_any_number_of_workers() -> None:
    plan = Plan(100, 12, epochs=3, max_steps=None, seed=1)
    for step in range(plan.steps):
        alone = set(plan.share(step, 0, 1, 4).ravel().tolist())
        three = {index for rank in range(3) for index in plan.share(step, rank, 3, 2).ravel().tolist()}
        assert alone == three


def test_epochs_and_seeds_differ_and_repeat() -> None:
    first = Plan(64, 64, epochs=2, max_steps=None, seed=0)
    assert first.batch(0).tolist() == Plan(64, 64, epochs=2, max_steps=None, seed=0).batch(0).tolist()
    assert first.batch(0).tolist() != first.batch(1).tolist()
    assert first.batch(0).tolist() != Plan(64, 64, epochs=2, max_steps=None, seed=1).batch(0).tolist()


def test_steps_end_with_max_steps() -> None:
    assert Plan(10, 4, epochs=2, max_steps=None, seed=0).steps == 6
    assert Plan(10, 4, epochs=2, max_steps=5, seed=0).steps == 5


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine_to_zero() -> None:
    factors = [learning_rate(step, 100, 0.1) for step in range(101)]
    assert factors[:3] == pytest.approx([1 / 11, 2 / 11, 3 / 11])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)
    assert factors[10:] == sorted(factors[10:], reverse=True)
