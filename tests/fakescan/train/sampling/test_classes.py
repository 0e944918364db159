"""Classes that are not alike many: balanced sampling keeps the order exact, weights keep the mean over tokens exact."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.cli.train import train_config
from fakescan.train.config import TrainConfig
from fakescan.train.feed import Samples, for_training, open_samples
from fakescan.train.plan import PADDING, Plan
from fakescan.train.preflight.inputs import records_hash
from fakescan.train.sampling.classes import Classes, ClassWeights, classes_of
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.data.record import FAKE, REAL, Record
from fakevlm.errors import UserError
from tests.striped import settings

pytestmark = pytest.mark.unit


def records(fakes: int, reals: int) -> list[Record]:
    return [
        Record(image=f"{number}.png", label=label, cate="object", conversations=())
        for number, label in enumerate([FAKE] * fakes + [REAL] * reals)
    ]


@given(
    fakes=st.integers(1, 60),
    reals=st.integers(1, 60),
    workers=st.integers(1, 4),
    micro=st.integers(1, 3),
    seed=st.integers(0, 3),
)
def test_an_epoch_draws_both_classes_equally_often_and_every_record(
    fakes: int, reals: int, workers: int, micro: int, seed: int
) -> None:
    labels = bytes([FAKE] * fakes + [REAL] * reals)
    plan = Plan(len(labels), 2 * workers * micro, epochs=2, max_steps=None, seed=seed, labels=labels)
    rare, common = sorted((fakes, reals))
    assert plan.epoch_samples == 2 * common
    seen = set()
    for epoch in range(2):
        of_epoch = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        parts = [plan.share(step, rank, workers, micro).ravel() for step in of_epoch for rank in range(workers)]
        counts = Counter(index for part in parts for index in part.tolist() if index != PADDING)
        assert set(counts) == set(range(len(labels)))
        for label in (FAKE, REAL):
            assert sum(count for index, count in counts.items() if labels[index] == label) == common
        assert max(counts.values()) - min(counts[i] for i in counts if labels[i] == labels[0]) <= -(-common // rare)
        for index, count in counts.items():
            size = fakes if labels[index] == FAKE else reals
            assert count in (common // size, -(-common // size))
        for step in of_epoch:
            pairs = zip(plan.batch(step).tolist(), plan.showings(step).tolist(), strict=True)
            for pair in pairs:
                if pair[0] != PADDING:
                    assert pair not in seen, "no record is shown in one way twice"
                    seen.add(pair)


def test_a_plain_epoch_shows_each_record_in_a_way_of_its_own() -> None:
    plan = Plan(10, 4, epochs=3, max_steps=None, seed=0)
    pairs = {
        pair
        for step in range(plan.steps)
        for pair in zip(plan.batch(step).tolist(), plan.showings(step).tolist(), strict=True)
        if pair[0] != PADDING
    }
    assert len(pairs) == 30


def test_the_order_follows_from_the_seed_and_the_epoch_alone() -> None:
    labels = bytes([FAKE] * 30 + [REAL] * 11)
    one, other = (Plan(41, size, epochs=2, max_steps=None, seed=3, labels=labels) for size in (4, 6))
    first = np.concatenate([one.batch(step) for step in range(one.steps_per_epoch)])[:60]
    second = np.concatenate([other.batch(step) for step in range(other.steps_per_epoch)])[:60]
    assert first.tolist() == second.tolist(), "whatever the size of a batch"
    assert first.tolist() != np.concatenate([one.batch(step) for step in range(15, 30)])[:60].tolist()


def test_what_settings_make_of_the_records() -> None:
    some = records(30, 12)
    assert classes_of(some, None, None) == Classes(30, 12, None, None)
    assert classes_of(some, None, ClassWeights(real=3.0)).weights == {FAKE: 1.0, REAL: 3.0}
    balanced = classes_of(some, "weights", None)
    assert balanced.weights == {FAKE: 42 / 60, REAL: 42 / 24}
    assert 30 * balanced.weights[FAKE] == 12 * balanced.weights[REAL]
    assert str(balanced) == "30 fake and 12 real records; in the loss fake counts 0.7 and real 1.75"
    assert str(classes_of(some, "sampling", None)) == (
        "30 fake and 12 real records; each epoch draws both 30 times, so that one of the rarer class is shown 2 or 3 "
        "times"
    )
    for one_class in (records(5, 0), records(0, 5)):
        with pytest.raises(UserError, match=r"^balance: every record is (fake|real), so there is nothing to balance"):
            classes_of(one_class, "sampling", None)


def training(tiny_model: Path, labelled: Path, tmp_path: Path, **more: Any) -> tuple[Samples, Plan]:
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path, workers=1, **more))
    return for_training(open_samples(config, open_checkpoint(str(tiny_model)), "train"), config)


def test_the_records_and_their_hash_stay_as_they_are(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    plain, _ = training(tiny_model, labelled, tmp_path)
    for more in ({"balance": "sampling"}, {"balance": "weights"}, {"class_weights": {"real": 2}}):
        samples, plan = training(tiny_model, labelled, tmp_path, **more)
        assert records_hash(samples.dataset.records) == records_hash(plain.dataset.records)
        assert plan.samples == len(plain.dataset.records)


def test_rows_that_only_fill_up_weigh_nothing(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    samples, _ = training(tiny_model, labelled, tmp_path, class_weights={"fake": 3, "real": 0.5})
    one = next(i for i, record in enumerate(samples.dataset.records) if record.is_fake)
    batch = samples.batch(np.array([one, PADDING]))
    assert batch.weights is not None
    assert batch.weights.tolist() == [3, 0]
    assert batch.answer_weight == 3 * batch.answer_tokens
    assert replace(batch, weights=None).answer_weight == batch.answer_tokens


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("balance: both", "balance: "),
        ("class_weights: {fake: 0}", "class_weights.fake: "),
        ("class_weights: {fake: -1}", "class_weights.fake: "),
        ("class_weights: {real: .inf}", "class_weights.real: "),
        ("class_weights: {reel: 2}", "class_weights.reel: unknown setting (did you mean real?)"),
        ("balance: weights\nclass_weights: {real: 2}", "class_weights: balance: weights sets them by the data"),
        ("seed: -1", "seed: "),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(f"model: m\ndata: d\nstorage_path: s\n{text}\n")
    with pytest.raises(UserError) as caught:
        train_config(file)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
