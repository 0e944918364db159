"""Augmentation in a training: both classes alike, the same for every worker and thread, never on held-out images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fakescan.cli.train import train_config
from fakescan.train.config import TrainConfig
from fakescan.train.feed import Samples, for_training, open_samples, steps
from fakescan.train.plan import PADDING, Plan
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.data.record import FAKE, REAL
from fakevlm.errors import UserError
from tests.striped import settings

pytestmark = pytest.mark.unit

LEAST = "model: m\ndata: d\nstorage_path: s\n"


def training(tiny_model: Path, labelled: Path, tmp_path: Path, **more: Any) -> tuple[Samples, Plan]:
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path, workers=1, **more))
    return for_training(open_samples(config, open_checkpoint(str(tiny_model)), "train"), config)


def shown(samples: Samples, plan: Plan, *, workers: int, threads: int, first: int = 0) -> dict[tuple[int, int], bytes]:
    """The pixels of each record as each step shows it, by step and record, whoever computes it."""
    found = {}
    for rank in range(workers):
        batches = steps(samples, plan, first, rank=rank, workers=workers, micro_batch=2, threads=threads)
        for step, of_step in enumerate(batches, first):
            share = plan.share(step, rank, workers, 2)
            for indices, batch in zip(share, of_step, strict=True):
                for index, pixels in zip(indices.tolist(), batch.pixel_values, strict=True):
                    found[step, index] = pixels.tobytes()
    return found


def test_the_number_of_workers_and_threads_and_a_restart_change_nothing(
    tiny_model: Path, labelled: Path, tmp_path: Path
) -> None:
    samples, plan = training(tiny_model, labelled, tmp_path, augment={"probability": 0.8})
    alone = shown(samples, plan, workers=1, threads=1)
    assert shown(samples, plan, workers=2, threads=3) == alone
    resumed = shown(samples, plan, workers=2, threads=2, first=4)
    assert resumed == {key: pixels for key, pixels in alone.items() if key[0] >= 4}
    plain = shown(replace(samples, augmentation=None), plan, workers=1, threads=1)
    changed = {key for key, pixels in alone.items() if pixels != plain[key]}
    assert 0.5 < len(changed) / len(alone) < 0.9
    second = {index: pixels for (step, index), pixels in alone.items() if step >= plan.steps_per_epoch}
    again = [
        index for (step, index), pixels in alone.items() if step < plan.steps_per_epoch and second[index] == pixels
    ]
    assert len(again) < 0.3 * len(second), "each epoch draws anew"


def test_a_record_that_is_left_out_changes_nothing_for_the_others(
    tiny_model: Path, labelled: Path, tmp_path: Path
) -> None:
    samples, plan = training(tiny_model, labelled, tmp_path, augment={"probability": 1})
    indices, showings = plan.batch(0), plan.showings(0)
    whole = samples.batch(indices, showings)
    gone = replace(samples, left_out=frozenset({samples.dataset.records[indices[0]].image}))
    fewer = gone.batch(indices, showings)
    assert (fewer.pixel_values[:-1] == whole.pixel_values[1:]).all()
    assert gone.augmented(indices, showings) == samples.augmented(indices, showings) - 1


def test_the_label_decides_nothing(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    samples, plan = training(tiny_model, labelled, tmp_path, augment={"probability": 1})
    answers = {one.label: one.conversations for one in samples.dataset.records}
    other = {FAKE: REAL, REAL: FAKE}
    turned = tuple(
        one.model_copy(update={"label": other[one.label], "conversations": answers[other[one.label]]})
        for one in samples.dataset.records
    )
    relabelled = replace(samples, dataset=replace(samples.dataset, records=turned))
    indices, showings = plan.batch(0), plan.showings(0)
    assert (relabelled.batch(indices, showings).pixel_values == samples.batch(indices, showings).pixel_values).all()


def test_off_by_default(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    samples, plan = training(tiny_model, labelled, tmp_path)
    assert samples.augmentation is None
    assert samples.augmented(plan.batch(0), plan.showings(0)) == 0


def test_held_out_images_stay_as_they_are(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    samples, _ = training(tiny_model, labelled, tmp_path, augment={"probability": 1})
    plain = replace(samples, augmentation=None)
    record = samples.dataset.records[0]
    first, second = samples.pixels(record), plain.pixels(record)
    assert first is not None
    assert second is not None
    assert (first == second).all(), "what an evaluation reads"


def test_padding_is_no_sample(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    samples, _ = training(tiny_model, labelled, tmp_path, augment={"probability": 1})
    indices: NDArray[np.int64] = np.array([3, PADDING, PADDING])
    assert samples.augmented(indices, np.array([0, PADDING, PADDING])) == 1
    assert samples.batch(indices, np.array([0, PADDING, PADDING])).labels.shape[0] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("augment: {probability: 0}", "augment.probability: "),
        ("augment: {probability: 1.5}", "augment.probability: "),
        ("augment: {operations: 0}", "augment.operations: "),
        (
            "augment: {jpeg: 70}",
            "augment.jpeg: two numbers are needed, [LOW, HIGH] between 1 and 100; null leaves it out",
        ),
        (
            "augment: {jpeg: [90, 40]}",
            "augment.jpeg: [90, 40] must be [LOW, HIGH] between 1 and 100; null leaves it out",
        ),
        ("augment: {jpeg: [40, 101]}", "augment.jpeg: [40, 101] must be"),
        ("augment: {blur: [-1, 3]}", "augment.blur: [-1, 3] must be"),
        ("augment: {blur: [.nan, 3]}", "augment.blur: "),
        ("augment: {blur: [0, .inf]}", "augment.blur: "),
        ("augment: {blur: [yes, 3]}", "augment.blur: two numbers are needed"),
        ("augment: {blur: [1, 2, 3]}", "augment.blur: two numbers are needed"),
        ("augment: {blurr: [1, 2]}", "augment.blurr: unknown setting (did you mean blur?)"),
        ("augment: strong", "augment: "),
        (
            "augment: {jpeg: null, webp: null, resize: null, crop: null, gauss: null, rotate: null, sharpen: null, "
            "contrast: null, blur: null, flip: false}",
            "augment: every operator is left out; name one, such as jpeg: [40, 95], or leave augment out",
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(f"{LEAST}{text}\n")
    with pytest.raises(UserError) as caught:
        train_config(file)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_strengths_are_set_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(LEAST)
    config = train_config(file, ("augment.blur=[1, 2]", "augment.flip=false", "augment.jpeg=null"))
    assert config.augment is not None
    names = {one.operator: (one.low, one.high) for one in config.augment.augmentation(0).ranges}
    assert names["blur"] == (1, 2)
    assert not {"jpeg", "flip", "pad", "shrink"} & names.keys()
    assert train_config(file, ("augment={}",)).augment is not None
    assert train_config(file).augment is None
