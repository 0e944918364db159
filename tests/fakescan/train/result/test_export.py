"""What training writes is what transformers and vLLM load: the same tokens, the same scores."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakescan.engine.config import VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.vllm_inprocess import InProcessEngine
from fakescan.storage.store import Store
from fakescan.train.config import TrainConfig
from fakescan.train.folder import ADAPTER, MODEL
from fakescan.train.metrics_actor import TrainResult
from fakescan.train.result.export import export, knows_generators, upload, write_model
from fakevlm.checkpoint.card import Card, read_card, write_card
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.data.collate import Collator, normalise
from fakevlm.data.record import FAKE, REAL, Record
from fakevlm.verdict import Calibration
from tests.fakescan.train.conftest import KINDS
from tests.striped import settings

pytestmark = [pytest.mark.engine, pytest.mark.timeout(500)]

TOKENS = 12
RESULT = TrainResult(
    steps=3,
    steps_per_epoch=5,
    samples=40,
    bad_images=2,
    exported_step=3,
    held_out="val",
    metrics={"eval_samples": 16.0, "eval_accuracy": 0.75, "eval_auroc": 0.9},
)


@pytest.fixture(scope="module")
def low_rank(tiny_model: Path, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of LoRA: three steps in this process. The drills do it with DeepSpeed, through Ray."""
    storage = tmp_path_factory.mktemp("low-rank")
    kind = {**KINDS["lora"], "zero": 0}
    return low_rank_run(TrainConfig.model_validate(settings(tiny_model, labelled, storage, **kind)))


def low_rank_run(config: TrainConfig) -> Path:
    """The folder of a run of three steps that is made in this process."""
    import torch

    from fakescan.train.feed import open_samples
    from fakescan.train.loop import answer_loss
    from fakescan.train.model import load
    from fakescan.train.stepper import TorchStepper

    checkpoint = open_checkpoint(config.model)
    samples = open_samples(config, checkpoint, "train")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load(config, checkpoint, bf16=False, gpu=False)
        stepper = TorchStepper(model, config, torch.device("cpu"), bf16=False)
        for first in range(0, 24, 8):
            batch = samples.batch(np.arange(first, first + 8))
            stepper.backward(answer_loss(stepper, batch) / batch.answer_tokens, last=True)
            stepper.step(1.0)
    export(stepper, config, checkpoint, RESULT, rank=0)
    return Path(config.storage_path) / config.name


def assert_they_say_the_same(model: Path | str) -> None:
    """Tokens and scores of the model in vLLM are those in transformers."""
    checkpoint = open_checkpoint(str(model))
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(4)]
    engine = InProcessEngine(
        VllmConfig(max_num_seqs=4), checkpoint, JudgingOptions(explain="all", max_new_tokens=TOKENS)
    )
    try:
        judged = engine.judge(images)
    finally:
        engine.close()
    for judgement, (text, fake, real) in zip(judged, by_transformers(checkpoint, images), strict=True):
        assert judgement.error is None
        assert (judgement.logprob_fake, judgement.logprob_real) == pytest.approx((fake, real), abs=1e-3)
        assert judgement.explanation == text


def test_low_rank_additions_are_in_what_is_written(low_rank: Path, tiny_model: Path) -> None:
    assert_they_say_the_same(low_rank / MODEL)
    assert_adapter_gives_merged_model(low_rank, tiny_model)


def assert_adapter_gives_merged_model(run: Path, start: Path) -> None:
    """The adapter of a run, added to the model it began with, is the model that the run has written."""
    import torch
    from peft import PeftModel
    from transformers import LlavaForConditionalGeneration

    merged = LlavaForConditionalGeneration.from_pretrained(run / MODEL, dtype=torch.float32)
    base = LlavaForConditionalGeneration.from_pretrained(start, dtype=torch.float32)
    before = {name: value.detach().clone() for name, value in base.named_parameters()}
    together = dict(PeftModel.from_pretrained(base, str(run / ADAPTER)).merge_and_unload().named_parameters())
    for name, value in merged.named_parameters():
        assert torch.allclose(value, together[name], atol=1e-6), name
    changed = {name for name, value in merged.named_parameters() if not torch.equal(value, before[name])}
    assert len(changed) > 4
    assert not [name for name in changed if "vision_tower" in name], "frozen"


def by_transformers(checkpoint: Checkpoint, images: list[Any]) -> list[tuple[str, float, float]]:
    """Answer and the two log-probabilities of each image, by greedy decoding."""
    import torch
    from transformers import LlamaTokenizerFast, LlavaForConditionalGeneration

    model: Any = LlavaForConditionalGeneration.from_pretrained(str(checkpoint.path), dtype=torch.float32).eval()
    tokenizer = LlamaTokenizerFast.from_pretrained(str(checkpoint.path))
    text = Collator(checkpoint.path, checkpoint.prompt, checkpoint.image_tokens)
    ids = torch.from_numpy(text.prompt_ids(checkpoint.prompt.text()))[None]
    found = []
    with torch.no_grad():
        for image in images:
            pixels = torch.from_numpy(normalise(image[None], checkpoint.image))
            first = model(input_ids=ids, pixel_values=pixels).logits[0, -1].log_softmax(-1)
            output = model.generate(input_ids=ids, pixel_values=pixels, max_new_tokens=TOKENS, do_sample=False)
            answer = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
            said = f"{checkpoint.prompt.answer_prefix} {answer.strip()}"
            found.append((said, float(first[checkpoint.fake_token_id]), float(first[checkpoint.real_token_id])))
    return found


@pytest.mark.parametrize(
    ("start", "families", "knows"),
    [
        ({"trained": True, "knows_generators": True}, ["splice"], True),
        ({"trained": True, "knows_generators": False}, ["splice", "warp"], False),
        ({"trained": True, "knows_generators": False}, ["splice", None], True),
        ({"trained": False, "knows_generators": True}, ["splice"], False),
        ({"trained": False, "knows_generators": True}, [None], True),
    ],
    ids=["it knew them", "forged photographs alone", "others among them", "from nothing", "from nothing, on others"],
)
def test_what_a_trained_model_knows_is_on_its_card(
    start: dict[str, bool], families: list[str | None], knows: bool, tiny_model: Path
) -> None:
    checkpoint = replace(open_checkpoint(str(tiny_model)), **start)
    shared = {"image": "a.png", "cate": "scene", "conversations": ()}
    fakes = [Record.model_validate({**shared, "label": FAKE, "family": family}) for family in families]
    assert knows_generators(checkpoint, [*fakes, Record.model_validate({**shared, "label": REAL})]) is knows


@pytest.mark.parametrize(
    "name", ["metrics.json", "trainer_state.json", "all_results.json", "training_args.json", "x.txt"]
)
def test_nothing_of_the_parent_is_carried_but_what_the_model_needs(
    name: str, tiny_model: Path, labelled: Path, tmp_path: Path
) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(tiny_model, parent)
    (parent / name).write_text('{"eval_accuracy": 0.99}')
    (parent / "LICENSE.txt").write_text("a licence")
    write_card(parent, Card(calibration=Calibration(temperature=3.0, prior=0.5), notice="of the parent"))
    config = TrainConfig.model_validate(settings(parent, labelled, tmp_path, workers=1))
    checkpoint = open_checkpoint(str(parent))
    made = tmp_path / "made"
    made.mkdir()
    write_model(made, stored_weights(parent), config, checkpoint, RESULT)
    files = {path.name for path in made.iterdir()}
    assert name not in files
    assert "LICENSE.txt" in files
    assert {"config.json", "tokenizer_config.json", "model.safetensors"} <= files
    card = read_card(made)
    assert (card.calibration, card.notice) == (Calibration(), "")
    assert open_checkpoint(str(made)).weights_sha256


def test_the_card_has_the_numbers_of_this_run(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path, workers=1))
    checkpoint = open_checkpoint(str(tiny_model))
    write_model(tmp_path, stored_weights(tiny_model), config, checkpoint, RESULT)
    text = (tmp_path / "README.md").read_text()
    assert "3 optimizer steps, 0.6 epochs" in text, "not the two that the settings ask for"
    assert "40 records, 2 left out because their image cannot be read" in text
    assert "On 16 images of the split `val` at step 3:" in text
    assert "| AUROC | 0.9000 |" in text
    assert "Not calibrated" in text


def test_an_export_replaces_what_an_earlier_one_left(tmp_path: Path) -> None:
    new, place = tmp_path / "new", tmp_path / "place"
    for folder in (new, place):
        folder.mkdir()
    (place / "model-00001-of-00002.safetensors").write_bytes(b"old")
    (place / "metrics.json").write_bytes(b"old")
    for name in ("model.safetensors", "fakevlm.json"):
        (new / name).write_bytes(b"new")
    upload(new, Store(), str(place))
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        "model.safetensors": b"new",
        "fakevlm.json": b"new",
    }


def stored_weights(folder: Path) -> list[tuple[str, Any]]:
    from safetensors.torch import load_file

    return list(load_file(folder / "model.safetensors").items())
