"""Which sample is seen when and by whom: every epoch sees every sample once, whatever the number of workers."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PADDING = -1
"""Fills the last batch of an epoch where no sample is left."""


@dataclass(frozen=True)
class Plan:
    """The order of a run. It depends on nothing but these numbers, so that a resumed run goes on with the same one."""

    samples: int
    batch_size: int
    """Samples of one optimizer step."""
    epochs: int
    max_steps: int | None
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in which every sample is seen once."""
        return math.ceil(self.samples / self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        steps = self.epochs * self.steps_per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def batch(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, int64[batch_size]; the epoch's last batch is filled up with PADDING."""
        epoch, at = divmod(step, self.steps_per_epoch)
        chosen = _order(self.samples, self.seed, epoch)[at * self.batch_size : (at + 1) * self.batch_size]
        return np.concatenate([chosen, np.full(self.batch_size - len(chosen), PADDING)])

    def share(self, step: int, rank: int, workers: int, micro_batch: int) -> NDArray[np.int64]:
        """One worker's samples of a step, int64[accumulate, micro_batch]."""
        return self.batch(step).reshape(-1, workers, micro_batch)[:, rank]


@functools.lru_cache(maxsize=2)
def _order(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(samples)


def learning_rate(step: int, steps: int, warmup_ratio: float) -> float:
    """The factor on the peak learning rate: linear from 0 over the warm-up, then a half cosine down to 0 at `steps`."""
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
