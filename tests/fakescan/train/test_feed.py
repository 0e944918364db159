"""Samples: records that are left out keep their place, and a bad image does not end a run in the middle."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakescan.train.config import TrainConfig
from fakescan.train.feed import Samples, open_samples
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.data.collate import IGNORED
from fakevlm.data.record import Record
from fakevlm.errors import ImageError, UserError
from tests.striped import settings

pytestmark = pytest.mark.unit


@pytest.fixture
def data(labelled: Path, tmp_path: Path) -> Path:
    """A copy that the test may spoil."""
    return Path(shutil.copytree(labelled, tmp_path / "data"))


@pytest.fixture
def samples(tiny_model: Path, data: Path, tmp_path: Path) -> Samples:
    config = TrainConfig.model_validate(settings(tiny_model, data, tmp_path, workers=1))
    return open_samples(config, open_checkpoint(str(tiny_model)), "train")


def test_a_record_that_is_left_out_leaves_a_row_without_labels(samples: Samples) -> None:
    name = samples.dataset.records[1].image
    without = replace(samples, left_out=frozenset({name}))
    indices = np.arange(4)
    whole, fewer = samples.batch(indices), without.batch(indices)
    assert without.skipped == {1}
    assert without.used(indices) == [0, 2, 3]
    assert fewer.input_ids.shape[0] == whole.input_ids.shape[0] == 4
    assert (fewer.labels[3] == IGNORED).all()
    assert (fewer.pixel_values[2] == whole.pixel_values[3]).all(), "the others move up, and are the same"


def test_an_image_that_has_become_unreadable(samples: Samples, data: Path) -> None:
    record = samples.dataset.records[2]
    (data / record.image).write_bytes(b"no image")
    with pytest.raises(UserError, match=rf"^data: image {record.image}: not_an_image: .*exclude.*max_bad_images"):
        samples.batch(np.arange(4))
    seen: list[tuple[str, str]] = []

    def count(record: Record, error: ImageError) -> None:
        seen.append((record.image, error.code))

    batch = replace(samples, on_bad_image=count).batch(np.arange(4))
    assert seen == [(record.image, "not_an_image")]
    assert (batch.labels[3] == IGNORED).all()
    assert batch.answer_tokens > 0


def test_an_image_that_is_gone(samples: Samples, data: Path) -> None:
    record = samples.dataset.records[0]
    (data / record.image).unlink()
    with pytest.raises(UserError, match="not_found"):
        samples.batch(np.arange(2))
