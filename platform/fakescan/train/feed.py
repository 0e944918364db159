"""The batches of one worker, made ahead on threads: fetch, decode, tokenise."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakescan.storage.errors import classify, store_errors
from fakescan.storage.objects import read_bytes
from fakescan.train.config import TrainConfig
from fakescan.train.failure import StoreAwayError
from fakescan.train.plan import PADDING, Plan, share
from fakescan.train.sampling.classes import classes_of
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.tokens import PromptTokens
from fakevlm.data.collate import Batch, Collator
from fakevlm.data.dataset import Dataset, open_dataset
from fakevlm.data.record import Record
from fakevlm.distortion.augmentation import Augmentation
from fakevlm.errors import ErrorCode, ImageError, UserError
from fakevlm.preprocess import Pixels, decode

MAX_PIXELS = 200_000_000
"""Images above this are refused before memory is taken for them."""
AHEAD = 3
"""Steps that are made ahead."""


def refuse_bad_image(record: Record, error: ImageError) -> None:
    """Raise UserError for an image that cannot be read: what happens to one unless somebody counts them."""
    raise UserError(
        f"data: image {record.image}: {error.code}: {error.message}; find all such with fakescan data validate "
        "--images, and name it in exclude, or raise max_bad_images"
    )


@dataclass(frozen=True)
class Samples:
    """Turns records into batches for a checkpoint."""

    dataset: Dataset
    checkpoint: Checkpoint
    text: Collator
    left_out: frozenset[str] = frozenset()
    """Images of records that keep their place in the order and are not learnt from."""
    on_bad_image: Callable[[Record, ImageError], None] = refuse_bad_image
    """Called for an image that cannot be read; it raises, or the record is left out."""
    augmentation: Augmentation | None = None
    """What changes the images of batches; never those that are evaluated on."""
    weights: dict[int, float] | None = None
    """Weight of each label in the loss; None: all count alike."""

    @cached_property
    def skipped(self) -> frozenset[int]:
        """Positions of the records that are left out."""
        return frozenset(i for i, record in enumerate(self.dataset.records) if record.image in self.left_out)

    def used(self, indices: NDArray[Any]) -> list[int]:
        """Those of the positions that hold a record to learn from."""
        return [index for index in indices.tolist() if index != PADDING and index not in self.skipped]

    def pixels(self, record: Record, change: Callable[[Image.Image], Image.Image] | None = None) -> Pixels | None:
        """A record's image at the model's input size; None for one that is left out because it cannot be read.

        `change` is done to the whole RGB image before that. Raises StoreAwayError where its store does not answer:
        that is no fault of the image.
        """
        try:
            return decode(self._read(record), self.checkpoint.image, max_pixels=MAX_PIXELS, change=change).pixels
        except ImageError as error:
            self.on_bad_image(record, error)
            return None

    def batch(self, indices: NDArray[Any], showings: NDArray[Any] | None = None) -> Batch:
        """The batch of the records with these indices; PADDING gives a row without labels, as does what is left out.

        `showings` are those of the plan; they decide how each image is augmented.
        """
        shown = np.zeros_like(indices) if showings is None else showings
        rows = [
            (record, image)
            for index, showing in zip(indices.tolist(), shown.tolist(), strict=True)
            if index != PADDING and index not in self.skipped
            for record in (self.dataset.records[index],)
            if (image := self.pixels(record, self._change(index, showing))) is not None
        ]
        texts = [self.text.encode(record) for record, _ in rows]
        weights = None if self.weights is None else [self.weights[record.label] for record, _ in rows]
        images = [image for _, image in rows]
        return self.text.batch(texts, images, self.checkpoint.image, rows=len(indices), weights=weights)

    def augmented(self, indices: NDArray[Any], showings: NDArray[Any]) -> int:
        """How many of these samples the augmentation changes."""
        if self.augmentation is None:
            return 0
        pairs = zip(indices.tolist(), showings.tolist(), strict=True)
        used = set(self.used(indices))
        return sum(bool(self.augmentation.changes(index, showing)) for index, showing in pairs if index in used)

    def _change(self, index: int, showing: int) -> Callable[[Image.Image], Image.Image] | None:
        augmentation = self.augmentation
        return None if augmentation is None else lambda image: augmentation.apply(image, index, showing)

    def _read(self, record: Record) -> bytes:
        path = self.dataset.image_path(record)
        try:
            return read_bytes(self.dataset.fs, path)
        except store_errors() as error:
            code, message = classify(error)
            if code is ErrorCode.FETCH_FAILED:
                raise StoreAwayError(
                    f"data: {record.image} cannot be fetched: {message}; the same command resumes"
                ) from None
            raise ImageError(code, message) from None


def open_samples(
    config: TrainConfig, checkpoint: Checkpoint, split: str | None, left_out: frozenset[str] = frozenset()
) -> Samples:
    """The records of a split for a checkpoint."""
    fs, path = config.data_store.filesystem(config.data)
    text = Collator(checkpoint.path, checkpoint.prompt, checkpoint.image_tokens)
    return Samples(open_dataset(path, fs, split=split), checkpoint, text, left_out)


def for_training(samples: Samples, config: TrainConfig) -> tuple[Samples, Plan]:
    """The records as the settings show them to the model, and their order. Raises UserError."""
    classes = classes_of(samples.dataset.records, config.balance, config.class_weights)
    augmentation = None if config.augment is None else config.augment.augmentation(config.seed)
    plan = Plan(
        len(samples.dataset.records), config.batch_size, config.epochs, config.max_steps, config.seed, classes.labels
    )
    return replace(samples, augmentation=augmentation, weights=classes.weights), plan


def with_prompt(checkpoint: Checkpoint, config: TrainConfig) -> Checkpoint:
    """The checkpoint with the prompt that it is trained with."""
    if config.prompt is None:
        return checkpoint
    tokens, text = PromptTokens(checkpoint.path), config.prompt.text()
    return replace(
        checkpoint,
        prompt=config.prompt,
        prompt_tokens=len(tokens.encode(text)) - 1 + checkpoint.image_tokens,
        fake_token_id=tokens.next_token(text, config.prompt.fake_word),
        real_token_id=tokens.next_token(text, config.prompt.real_word),
    )


def steps(
    samples: Samples, plan: Plan, first: int, *, rank: int, workers: int, micro_batch: int, threads: int
) -> Generator[list[Batch], None, None]:
    """The micro-batches of each step from `first` on."""
    with ThreadPoolExecutor(threads, thread_name_prefix="feed") as pool:
        waiting: deque[list[Future[Batch]]] = deque()
        try:
            for step in range(first, plan.steps):
                own = (share(of, rank, workers, micro_batch) for of in (plan.batch(step), plan.showings(step)))
                waiting.append([pool.submit(samples.batch, *one) for one in zip(*own, strict=True)])
                if len(waiting) > AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
