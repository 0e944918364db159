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
    """Records."""
    batch_size: int
    """Samples of one optimizer step."""
    epochs: int
    max_steps: int | None
    seed: int
    labels: bytes | None = None
    """The label of each record, a byte each, where an epoch draws both labels equally often. Default: each record once.

    Then the commoner label's records are drawn once, the others floor(common / rare) times, and of them as many once
    more, drawn anew each epoch, as are missing.
    """

    @property
    def epoch_samples(self) -> int:
        """Samples of an epoch."""
        if self.labels is None:
            return self.samples
        ones = self.labels.count(1)
        return 2 * max(ones, self.samples - ones)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return math.ceil(self.epoch_samples / self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        steps = self.epochs * self.steps_per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def batch(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, int64[batch_size]; the epoch's last batch is filled up with PADDING."""
        return self._part(_epoch(self.samples, self.seed, step // self.steps_per_epoch, self.labels)[0], step)

    def showings(self, step: int) -> NDArray[np.int64]:
        """A number for each sample of a step, int64[batch_size], that is another each time its record is drawn.

        It depends on nothing but the record, the epoch, and how often the epoch has drawn it before.
        """
        epoch = step // self.steps_per_epoch
        earlier = _epoch(self.samples, self.seed, epoch, self.labels)[1]
        return self._part(earlier + epoch * self.epoch_samples, step)

    def share(self, step: int, rank: int, workers: int, micro_batch: int) -> NDArray[np.int64]:
        """One worker's samples of a step, int64[accumulate, micro_batch]."""
        return share(self.batch(step), rank, workers, micro_batch)

    def _part(self, of_epoch: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """A step's part of what an epoch has for each of its samples, filled up with PADDING."""
        at = step % self.steps_per_epoch * self.batch_size
        part = of_epoch[at : at + self.batch_size]
        return np.concatenate([part, np.full(self.batch_size - len(part), PADDING)])


def share(of_step: NDArray[np.int64], rank: int, workers: int, micro_batch: int) -> NDArray[np.int64]:
    """One worker's part of what a step has for each sample, int64[accumulate, micro_batch]."""
    return of_step.reshape(-1, workers, micro_batch)[:, rank]


@functools.lru_cache(maxsize=2)
def _epoch(samples: int, seed: int, epoch: int, labels: bytes | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The records of an epoch in their order, and for each how often the epoch has drawn it before."""
    rng = np.random.default_rng([seed, epoch])
    if labels is None:
        return rng.permutation(samples), np.zeros(samples, dtype=np.int64)
    ones = np.frombuffer(labels, dtype=np.uint8) == 1
    rare, common = sorted((np.flatnonzero(ones), np.flatnonzero(~ones)), key=len)
    times, missing = divmod(len(common), len(rare))
    order = rng.permutation(np.concatenate([common, *[rare] * times, rng.permutation(rare)[:missing]]))
    return order, _earlier(order)


def _earlier(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each item of `order` comes before its place."""
    by_item = np.argsort(order, kind="stable")
    starts = np.flatnonzero(np.diff(order[by_item], prepend=-1))
    counts = np.empty_like(order)
    counts[by_item] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return counts


def learning_rate(step: int, steps: int, warmup_ratio: float) -> float:
    """The factor on the peak learning rate: linear from 0 over the warm-up, then a half cosine down to 0 at `steps`."""
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
