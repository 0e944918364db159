"""The batches of one worker, made ahead on threads: fetch, decode, tokenise."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fakescan.train.plan import PADDING, Plan
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.data.collate import Batch, Collator
from fakevlm.data.dataset import Dataset
from fakevlm.data.record import Record
from fakevlm.errors import ImageError, UserError
from fakevlm.preprocess import Pixels, decode

MAX_PIXELS = 200_000_000
"""Images above this are refused before memory is taken for them."""
AHEAD = 3
"""Steps that are made ahead."""


@dataclass(frozen=True)
class Samples:
    """Turns records into batches for a checkpoint."""

    dataset: Dataset
    checkpoint: Checkpoint
    text: Collator

    def pixels(self, record: Record) -> Pixels:
        """A record's image at the model's input size. Raises UserError naming it when it cannot be read."""
        try:
            return decode(self.dataset.read_image(record), self.checkpoint.image, max_pixels=MAX_PIXELS).pixels
        except ImageError as error:
            raise UserError(
                f"data: image {record.image}: {error.code}: {error.message}; find all such with "
                "fakescan data validate --images"
            ) from None

    def batch(self, indices: NDArray[Any]) -> Batch:
        """The batch of the records with these indices; PADDING gives a row without labels."""
        records = [self.dataset.records[index] for index in indices.tolist() if index != PADDING]
        texts = [self.text.encode(record) for record in records]
        pixels = [self.pixels(record) for record in records]
        return self.text.batch(texts, pixels, self.checkpoint.image, rows=len(indices))


def steps(
    samples: Samples, plan: Plan, first: int, *, rank: int, workers: int, micro_batch: int, threads: int
) -> Iterator[list[Batch]]:
    """The micro-batches of each step from `first` on."""
    with ThreadPoolExecutor(threads, thread_name_prefix="feed") as pool:
        waiting: deque[list[Future[Batch]]] = deque()
        try:
            for step in range(first, plan.steps):
                share = plan.share(step, rank, workers, micro_batch)
                waiting.append([pool.submit(samples.batch, indices) for indices in share])
                if len(waiting) > AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
