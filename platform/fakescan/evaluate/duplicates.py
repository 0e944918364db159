"""Images of a benchmark that the checkpoint was nearly trained on, by perceptual hashes."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fakescan.evaluate.benchmark import LabelledImage, read_images, read_picture
from fakescan.evaluate.config import EvaluateConfig
from fakescan.storage.store import Store
from fakescan.terminal.counting import Counting
from fakevlm.errors import UserError
from fakevlm.near_duplicates.pairs import Bits, near_duplicates
from fakevlm.near_duplicates.phash import picture_hash


@dataclass(frozen=True)
class Duplicates:
    """Images that are nearly in the training set."""

    uris: frozenset[str]
    unhashed: int
    """Images of either set that cannot be read, or have hardly anything on them."""


def read_training(config: EvaluateConfig) -> tuple[LabelledImage, ...] | None:
    """The images of the training set; None when none is named. Raises UserError."""
    if config.training is None:
        return None
    place = {"data": config.training, "split": config.training_split, "image_folder": None}
    try:
        return read_images(config.model_copy(update=place), usual_split="train").images
    except UserError as error:
        raise UserError(f"training: {error}") from None


def find_duplicates(
    config: EvaluateConfig, images: Sequence[LabelledImage], trained: Sequence[LabelledImage]
) -> Duplicates:
    """The images that are near one of the training set. Raises UserError where none of that set can be read."""
    numbers, hashes = _hashes(images, config.data_store, "hashing the benchmark")
    _, trained_hashes = _hashes(trained, config.data_store, "hashing the training set")
    if not len(trained_hashes):
        raise UserError(f"training: none of the {len(trained):,} images of {config.training} can be read and hashed")
    uris = frozenset(images[numbers[pair.first]].uri for pair in near_duplicates(hashes, trained_hashes))
    return Duplicates(uris, len(images) + len(trained) - len(hashes) - len(trained_hashes))


def _hashes(images: Sequence[LabelledImage], store: Store, what: str) -> tuple[list[int], Bits]:
    """Hashes of the images that can be read and have something to compare, uint8[n, 32], and which those are."""
    numbers: list[int] = []
    hashes: list[Bits] = []
    with Counting(what, len(images)) as counting, ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        for number, bits in enumerate(pool.map(lambda image: _hash(image.uri, store), images)):
            counting.one_more()
            if bits is not None:
                numbers.append(number)
                hashes.append(bits)
    return numbers, np.stack(hashes) if hashes else np.zeros((0, 32), np.uint8)


def _hash(uri: str, store: Store) -> Bits | None:
    picture = read_picture(uri, store)
    return None if picture is None else picture_hash(picture)
