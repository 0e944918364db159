"""Samples: the answer alone is learnt, in the tokens that inference will see."""

from pathlib import Path

import numpy as np
import pytest

from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.data.collate import IGNORED, Collator, TokenizedSample, normalise
from fakevlm.data.record import Record
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def checkpoint(tiny_model: Path) -> Checkpoint:
    return open_checkpoint(str(tiny_model))


@pytest.fixture(scope="module")
def collator(checkpoint: Checkpoint) -> Collator:
    return Collator(checkpoint.path, checkpoint.prompt, checkpoint.image_tokens)


def record(answer: str, *, label: int = 0) -> Record:
    return Record.model_validate(
        {
            "image": "object/fake/1.png",
            "label": label,
            "cate": "object",
            "conversations": [
                {"from": "human", "value": "<image>Does the image looks real/fake?"},
                {"from": "gpt", "value": answer},
            ],
        }
    )


def test_the_answer_follows_the_prompt_as_a_scan_asks_it(checkpoint: Checkpoint, collator: Collator) -> None:
    sample = collator.encode(record("This is a fake image. Several regions look unnaturally smooth."))
    asked = collator.prompt_ids(checkpoint.prompt.text())
    assert len(asked) == checkpoint.prompt_tokens
    assert sample.ids[: len(asked)].tolist() == asked.tolist()
    assert sample.ids[len(asked)] == checkpoint.fake_token_id
    assert sample.ids[-1] == 2


def test_labels_are_on_the_answer_and_its_end_alone(checkpoint: Checkpoint, collator: Collator) -> None:
    long = collator.encode(record("This is a fake image. Several regions look unnaturally smooth."))
    short = collator.encode(record("This is a real image.", label=1))
    pixels = np.zeros((112, 112, 3), dtype=np.uint8)
    batch = collator.batch([long, short], [pixels, pixels], checkpoint.image, rows=3)
    assert batch.input_ids.shape == (3, len(long.ids))
    assert batch.pixel_values.shape == (3, 3, 112, 112)
    for row, sample in enumerate((long, short)):
        labelled = np.flatnonzero(batch.labels[row] != IGNORED)
        assert labelled.tolist() == list(range(sample.answer, len(sample.ids)))
        assert batch.labels[row][labelled].tolist() == sample.ids[sample.answer :].tolist()
        assert batch.attention_mask[row].sum() == len(sample.ids)
    assert (batch.labels[2] == IGNORED).all()
    assert batch.answer_tokens == len(long.ids) - long.answer + len(short.ids) - short.answer


def test_a_batch_of_padding_alone_can_be_computed(checkpoint: Checkpoint, collator: Collator) -> None:
    batch = collator.batch([], [], checkpoint.image, rows=2)
    assert batch.answer_tokens == 0
    assert batch.input_ids.shape == (2, checkpoint.prompt_tokens)


def test_pixels_are_normalised_as_the_processor_does(checkpoint: Checkpoint) -> None:
    from transformers import CLIPImageProcessor

    draw = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    processor = CLIPImageProcessor.from_pretrained(str(checkpoint.path))
    expected = processor(draw, return_tensors="np")["pixel_values"]
    assert np.abs(normalise(draw[None], checkpoint.image) - expected).max() < 1e-5


def test_an_answer_of_another_form_names_the_image(collator: Collator) -> None:
    with pytest.raises(UserError, match=r"object/fake/1\.png does not begin with 'This is a'"):
        collator.encode(record("The image is fake."))


def test_samples_that_are_too_long_name_the_longest_and_the_length_that_fits(collator: Collator) -> None:
    records = [record("This is a fake image. " + "Several regions look unnaturally smooth. " * n) for n in (1, 2, 3)]
    needed = max(len(collator.encode(item).ids) for item in records)
    with pytest.raises(UserError, match=f"raise max_length to {needed}"):
        collator.lengths(records, 60)
    assert isinstance(collator.encode(records[0]), TokenizedSample)
