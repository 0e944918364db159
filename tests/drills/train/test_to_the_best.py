"""To the best model: the best checkpoint of a run that overfits, early ends, runs that are extended, a warm start."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakescan.storage.store import Store
from fakescan.train.config import TrainConfig
from fakescan.train.driver import run_train
from fakescan.train.feed import open_samples
from fakescan.train.result.from_checkpoint import export_checkpoint
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.data.collate import normalise
from tests.striped import settings
from tests.training import losses

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

OVERFITTING: dict[str, Any] = {
    "batch_size": 8, "micro_batch": 4, "epochs": 24, "lr": 2e-3, "checkpoint_every": 4, "keep": 1,
    "best_by": "log_loss",
}  # fmt: skip
"""24 steps on 8 records whose labels are noise: the more of them is learnt by heart, the worse the others fare."""


@pytest.fixture(scope="module")
def noise(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The striped dataset with 8 records to train on, half of whose labels and answers are wrong."""
    data = Path(shutil.copytree(labelled, tmp_path_factory.mktemp("noise") / "data"))
    file = data / "data_json" / "train.json"
    records = json.loads(file.read_text())[:8]
    swap = {"real": "fake", "fake": "real"}
    for record in records[:5]:
        said = "real" if record["label"] else "fake"
        record["label"] = 1 - record["label"]
        answer = record["conversations"][1]
        answer["value"] = answer["value"].replace(f"a {said} image", f"a {swap[said]} image")
    file.write_text(json.dumps(records))
    return data


def train(model: Path | str, data: Path, storage: Path, address: str, **more: Any) -> Any:
    return run_train(TrainConfig.model_validate(settings(model, data, storage, **more)), ray_address=address)


@pytest.fixture(scope="module")
def overfitted(tiny_model: Path, noise: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: str) -> Any:
    storage = tmp_path_factory.mktemp("overfitted")
    return train(tiny_model, noise, storage, ray_cluster, zero=0, workers=1, **OVERFITTING)


def sha256(model: str | Path) -> str:
    return open_checkpoint(str(model)).weights_sha256


def log_loss_of(model: str, data: Path, storage: Path) -> float:
    """Log loss of the verdict on the held-out split, by transformers alone."""
    import torch
    from transformers import LlavaForConditionalGeneration

    checkpoint = open_checkpoint(model)
    samples = open_samples(TrainConfig.model_validate(settings(model, data, storage)), checkpoint, "val")
    llava: Any = LlavaForConditionalGeneration.from_pretrained(str(checkpoint.path), dtype=torch.float32).eval()
    ids = torch.from_numpy(samples.text.prompt_ids(checkpoint.prompt.text()))[None]
    total = 0.0
    with torch.no_grad():
        for record in samples.dataset.records:
            image = samples.pixels(record)
            assert image is not None
            pixels = torch.from_numpy(normalise(image[None], checkpoint.image))
            logits = llava(input_ids=ids, pixel_values=pixels).logits[0, -1]
            gap = float(logits[checkpoint.fake_token_id] - logits[checkpoint.real_token_id])
            total += float(np.logaddexp(0.0, -gap if record.is_fake else gap))
    return total / len(samples.dataset.records)


def test_the_best_checkpoint_of_a_run_that_overfits_beats_its_last_one(
    overfitted: Any, noise: Path, tmp_path: Path
) -> None:
    by_step = {entry.step: entry.metrics["eval_log_loss"] for entry in overfitted.log if entry.metrics}
    best = min(by_step, key=lambda step: (by_step[step], step))
    assert best < 24
    assert overfitted.result.exported_step == best
    last = export_checkpoint(f"{overfitted.url}/checkpoint_0000024", str(tmp_path / "last"), Store())
    chosen, at_last = (log_loss_of(model, noise, tmp_path) for model in (overfitted.model, last.url))
    assert chosen == pytest.approx(by_step[best], abs=1e-3)
    assert at_last == pytest.approx(by_step[24], abs=1e-3)
    assert chosen < at_last - 0.1, "best beats last"
    kept = sorted(path.name for path in Path(overfitted.url).glob("checkpoint_*/"))
    assert kept == [f"checkpoint_{best:07d}", "checkpoint_0000024"]
    again = export_checkpoint(f"{overfitted.url}/{kept[0]}", None, Store())
    assert sha256(again.url) == sha256(overfitted.model)
    card = (Path(overfitted.model) / "README.md").read_text()
    assert "(the best of 24 steps by log_loss)" in card
    assert "They chose the checkpoint, so that they are a little too good." in card


def test_a_run_without_patience_left_ends_early_and_goes_on_when_it_gets_more(
    overfitted: Any, tiny_model: Path, noise: Path, tmp_path: Path, ray_cluster: str
) -> None:
    options = {"zero": 0, "workers": 1, **OVERFITTING}
    early = train(tiny_model, noise, tmp_path, ray_cluster, patience=2, **options)
    assert early.result.stopped_early
    assert early.result.steps == early.result.exported_step + 8, "two evaluations, each after four steps"
    assert sha256(early.model) == sha256(overfitted.model)
    assert not train(tiny_model, noise, tmp_path, ray_cluster, patience=2, **options).is_new
    whole = train(tiny_model, noise, tmp_path, ray_cluster, **options)
    assert (whole.result.steps, whole.result.stopped_early) == (24, False)
    assert losses(Path(whole.url)) == losses(Path(overfitted.url)), "to the bit"
    assert sha256(whole.model) == sha256(overfitted.model)


@pytest.mark.parametrize("zero", [2, 3])
def test_the_best_of_workers_that_share_their_states(
    zero: int, tiny_model: Path, noise: Path, tmp_path: Path, ray_cluster: str
) -> None:
    done = train(tiny_model, noise, tmp_path, ray_cluster, zero=zero, workers=2, **{**OVERFITTING, "epochs": 16})
    best = done.result.exported_step
    assert best < 16
    made = export_checkpoint(f"{done.url}/checkpoint_{best:07d}", None, Store())
    assert sha256(made.url) == sha256(done.model), "out of the shards, without the workers"


def test_an_extended_run_is_as_one_that_was_not_interrupted(
    plain: Any, tiny_model: Path, labelled: Path, tmp_path: Path, ray_cluster: str
) -> None:
    options = {"zero": 0, "workers": 1, "schedule_steps": 10}
    short = train(tiny_model, labelled, tmp_path, ray_cluster, max_steps=5, **options)
    assert short.result.steps == 5
    assert not train(tiny_model, labelled, tmp_path, ray_cluster, max_steps=5, **options).is_new
    extended = train(tiny_model, labelled, tmp_path, ray_cluster, max_steps=10, **options)
    assert (extended.result.steps, extended.is_new) == (10, True)
    assert losses(Path(extended.url)) == losses(Path(plain.url)), "to the bit"
    assert sha256(extended.model) == sha256(plain.model)
    assert "10 optimizer steps, 2 epochs" in (Path(extended.model) / "README.md").read_text()


def test_a_run_that_was_not_meant_to_be_extended_goes_on_at_the_rates_of_a_longer_one(
    plain: Any, tiny_model: Path, labelled: Path, tmp_path: Path, ray_cluster: str
) -> None:
    """Its first steps were made at falling rates, which nothing takes back; the rest is as in a run of ten steps."""
    options = {"zero": 0, "workers": 1}
    short = train(tiny_model, labelled, tmp_path, ray_cluster, max_steps=5, **options)
    extended = train(tiny_model, labelled, tmp_path, ray_cluster, max_steps=10, **options)
    assert [entry.loss for entry in extended.log[:5]] == [entry.loss for entry in short.log]
    assert [entry.lr for entry in extended.log[5:]] == [entry.lr for entry in plain.log[5:]]
    before, after, whole = (one.log[-1].loss for one in (short, extended, plain))
    assert whole - 0.01 < after < (before + whole) / 2, "it ends nearer to the whole run than it was"


def test_a_warm_start_under_a_new_name(plain: Any, labelled: Path, tmp_path: Path, ray_cluster: str) -> None:
    start = export_checkpoint(f"{plain.url}/checkpoint_0000010", str(tmp_path / "start"), Store())
    warm = train(start.url, labelled, tmp_path, ray_cluster, zero=0, workers=1, name="warm", max_steps=2)
    assert losses(Path(warm.url))[0] == pytest.approx(losses(Path(plain.url))[-1], rel=0.5)
    assert losses(Path(warm.url))[0] < losses(Path(plain.url))[0] / 2, "it goes on from what was learnt"


def test_a_bad_image_does_not_end_a_run_in_the_middle(
    tiny_model: Path, labelled: Path, tmp_path: Path, ray_cluster: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = Path(shutil.copytree(labelled, tmp_path / "data"))
    for number, content in ((1, b"no image"), (4, b"")):
        name = f"object/{'real' if number % 2 else 'fake'}/train-{number}.png"
        (data / name).write_bytes(content)
    done = train(
        tiny_model, data, tmp_path, ray_cluster, zero=0, workers=2, max_bad_images=2, decode_images=False,
        exclude=["object/fake/train-0.png"],
    )  # fmt: skip
    assert (done.result.steps, done.result.bad_images, done.result.left_out) == (10, 2, 1)
    for name in ("object/real/train-1.png", "object/fake/train-4.png"):
        assert f"image {name} is left out: " in caplog.text
    card = (Path(done.model) / "README.md").read_text()
    assert re.search(
        r"40 records, \d\d of them fake, 1 left out by name, 2 left out because their image cannot be read\n", card
    )
