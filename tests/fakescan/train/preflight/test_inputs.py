"""The inputs of a run: the hash of its records, and settings that only the data can prove wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakescan.train.config import TrainConfig
from fakescan.train.preflight.inputs import open_inputs, records_hash
from fakevlm.data.dataset import open_dataset
from fakevlm.errors import UserError
from tests.striped import settings

pytestmark = pytest.mark.unit


def changed(labelled: Path, place: Path, change: Callable[[list[dict[str, Any]]], Any]) -> str:
    """The hash of the records after a change of them."""
    records = json.loads((labelled / "data_json" / "train.json").read_text())
    change(records)
    place.write_text(json.dumps(records))
    return records_hash(open_dataset(place).records)


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records.reverse(),
        lambda records: records.pop(),
        lambda records: records.append(records[0]),
        lambda records: records[3].update(image="object/real/other.png"),
        lambda records: records[3]["conversations"][1].update(value="This is a real image. Another clue."),
        lambda records: records[3]["conversations"].extend(records[3]["conversations"]),
    ],
    ids=["order", "one less", "one more", "another image", "another answer", "another turn"],
)
def test_another_order_or_content_is_another_hash(
    labelled: Path, tmp_path: Path, change: Callable[[list[dict[str, Any]]], Any]
) -> None:
    place = tmp_path / "train.json"
    assert changed(labelled, place, change) != changed(labelled, place, lambda records: None)


def test_what_nothing_is_learnt_from_may_change(labelled: Path, tmp_path: Path) -> None:
    place = tmp_path / "train.json"
    same = changed(labelled, place, lambda records: records[0].update(width=85, height=85, note="seen"))
    assert same == changed(labelled, place, lambda records: None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exclude": ["a.png"]}, r"^exclude: no record has the image 'a\.png'"),
        ({"schedule_steps": 5}, r"^schedule_steps: the learning rate would be zero after 5 of the run's 10 steps"),
        ({"best_by": "auroc", "split": "val", "eval_split": "val"}, r"^eval_split: val is what is trained on"),
    ],
)
def test_settings_that_only_the_data_prove_wrong(
    tiny_model: Path, labelled: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path, zero=0, **change))
    with pytest.raises(UserError, match=message):
        open_inputs(config)


def test_nothing_to_compare_by(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    data = labelled / "data_json" / "train.json"
    config = TrainConfig.model_validate(settings(tiny_model, data, tmp_path, zero=0, best_by="auroc"))
    with pytest.raises(UserError, match=r"^best_by: there is no held-out split"):
        open_inputs(config)
