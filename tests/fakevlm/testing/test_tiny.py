"""The stand-in models speak their script, the same in vLLM and in transformers, in every layout."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint, self_test
from fakevlm.checkpoint.tokens import PromptTokens
from fakevlm.preprocess import fit
from fakevlm.prompt import PromptSpec
from fakevlm.testing.tiny import build_tiny, build_twin
from fakevlm.testing.tiny_tokenizer import EXPLANATIONS, script_words
from fakevlm.verdict import Calibration, Verdict, parse_answer, score_tokens

IMAGES = 8


def pictures(count: int) -> list[Image.Image]:
    """Images that differ in colours, contrast and detail."""
    random = np.random.default_rng(5)
    images = []
    for number in range(count):
        cells = (2, 3, 5, 9, 30)[number % 5]
        coarse = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        images.append(Image.fromarray(coarse).resize((200, 160), Image.Resampling.BICUBIC))
    return images


class Model(NamedTuple):
    checkpoint: Checkpoint
    pixels: npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def models(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The tiny model, the same as transformers 5 saves it, and the twin, each with its input pixels."""
    folder = tmp_path_factory.mktemp("models")
    places = {"tiny": tiny_model, "saved": folder / "saved", "twin": build_twin(folder / "twin")}
    save_anew(tiny_model, places["saved"])
    result = {}
    for name, place in places.items():
        checkpoint = open_checkpoint(str(place), cache_dir=folder / "cache")
        self_test(checkpoint)
        pixels = np.stack([fit(image, checkpoint.image) for image in pictures(IMAGES)])
        result[name] = Model(checkpoint, pixels)
    return result


def save_anew(source: Path, target: Path) -> None:
    """Save a checkpoint as training with transformers 5 does: a model made from a configuration, not loaded."""
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    loaded: Any = LlavaForConditionalGeneration.from_pretrained(source)
    fresh: Any = LlavaForConditionalGeneration(loaded.config)
    fresh.load_state_dict(loaded.state_dict())
    fresh.save_pretrained(target)
    AutoProcessor.from_pretrained(source).save_pretrained(target)


class Answer(NamedTuple):
    prompt_tokens: int
    logprobs: tuple[float, float]
    text: str


@pytest.fixture(scope="module")
def by_transformers(models: dict[str, Model]) -> dict[str, list[Answer]]:
    return {name: ask_transformers(model) for name, model in models.items()}


def ask_transformers(model: Model) -> list[Answer]:
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    checkpoint = model.checkpoint
    llava: Any = LlavaForConditionalGeneration.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    processor: Any = AutoProcessor.from_pretrained(checkpoint.path, backend="pil")
    words = [checkpoint.fake_token_id, checkpoint.real_token_id]
    answers = []
    for pixels in model.pixels:
        image = Image.fromarray(pixels)
        scored = processor(images=image, text=checkpoint.prompt.text(), return_tensors="pt")
        free = processor(images=image, text=checkpoint.prompt.text(answer_prefix=False), return_tensors="pt")
        with torch.no_grad():
            logprobs = llava(**scored).logits[0, -1].log_softmax(-1)[words].tolist()
            written = llava.generate(**free, max_new_tokens=80, do_sample=False)[0, free["input_ids"].shape[1] :]
        text = processor.decode(written, skip_special_tokens=True)
        answers.append(Answer(scored["input_ids"].shape[1], (logprobs[0], logprobs[1]), text))
    return answers


@pytest.fixture(scope="module")
def by_vllm(models: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Answer]]:
    folder = tmp_path_factory.mktemp("vllm")
    ask = {}
    for name, (checkpoint, pixels) in models.items():
        np.save(folder / f"{name}.npy", pixels)
        ask[name] = {
            "path": str(checkpoint.path),
            "pixels": f"{name}.npy",
            "prompt": checkpoint.prompt.text(),
            "free_prompt": checkpoint.prompt.text(answer_prefix=False),
            "fake_token_id": checkpoint.fake_token_id,
            "real_token_id": checkpoint.real_token_id,
        }
    (folder / "ask.json").write_text(json.dumps(ask))
    program = Path(__file__).with_name("vllm_answers.py")
    done = subprocess.run([sys.executable, str(program), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads((folder / "answers.json").read_text())
    return {
        name: [Answer(one["prompt_tokens"], tuple(one["logprobs"]), one["text"]) for one in answers[name]]
        for name in models
    }


def sentences(text: str) -> list[str]:
    return [f"{sentence}." for sentence in text.strip().removesuffix(".").split(". ")]


NAMES = ["tiny", "saved", "twin"]


@pytest.mark.engine
@pytest.mark.parametrize("name", NAMES)
def test_vllm_and_transformers_give_equal_scores_and_answers(
    name: str, by_vllm: dict[str, list[Answer]], by_transformers: dict[str, list[Answer]], models: dict[str, Model]
) -> None:
    for one, other in zip(by_vllm[name], by_transformers[name], strict=True):
        assert one.prompt_tokens == other.prompt_tokens == models[name].checkpoint.prompt_tokens
        a, b = (score_tokens(*answer.logprobs, Calibration()) for answer in (one, other))
        assert a == pytest.approx(b, abs=1e-3)
        assert one.text.strip() == other.text.strip()


@pytest.mark.engine
def test_saving_anew_changes_no_score(by_vllm: dict[str, list[Answer]], models: dict[str, Model]) -> None:
    assert models["saved"].checkpoint.path != Path(models["saved"].checkpoint.location), "a converted view"
    for one, other in zip(by_vllm["tiny"], by_vllm["saved"], strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
        assert one.text == other.text


@pytest.mark.unit
@pytest.mark.parametrize("name", NAMES)
def test_every_answer_follows_the_script(name: str, by_transformers: dict[str, list[Answer]]) -> None:
    for answer in by_transformers[name]:
        first, *explanation = sentences(answer.text)
        fake, real = answer.logprobs
        verdict = Verdict.FAKE if fake > real else Verdict.REAL
        assert first == f"This is a {verdict} image."
        assert parse_answer(answer.text) is verdict
        assert explanation == list(EXPLANATIONS[verdict][: len(explanation)])


@pytest.mark.unit
@pytest.mark.parametrize("name", NAMES)
def test_verdicts_and_lengths_vary_with_the_image(name: str, by_transformers: dict[str, list[Answer]]) -> None:
    answers = by_transformers[name]
    assert {parse_answer(answer.text) for answer in answers} == {Verdict.REAL, Verdict.FAKE}
    assert len({len(answer.text.split()) for answer in answers}) >= 3
    scores = [score_tokens(*answer.logprobs, Calibration()) for answer in answers]
    assert np.std([score.logit for score in scores]) > 0.5
    assert all(0 < score.off_script < 0.3 for score in scores)


@pytest.mark.unit
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prompt_format", ["raw", "chat"])
def test_our_tokens_are_those_of_transformers(name: str, prompt_format: str, models: dict[str, Model]) -> None:
    from transformers import AutoTokenizer

    path = models[name].checkpoint.path
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    prompt = PromptSpec(prompt_format=prompt_format)
    for text in (prompt.text(), prompt.text(answer_prefix=False), f"{prompt.text()} fake image.", "Größe 漢字 <image>"):
        assert PromptTokens(path).encode(text) == tokenizer.encode(text)


@pytest.mark.unit
def test_building_is_quick_and_repeatable(tiny_model: Path, tmp_path: Path) -> None:
    started = time.process_time()
    again = build_tiny(tmp_path / "again")
    assert time.process_time() - started < 10
    for file in tiny_model.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name
    other = build_tiny(tmp_path / "other", seed=1)
    assert (other / "model.safetensors").read_bytes() != (tiny_model / "model.safetensors").read_bytes()


@pytest.mark.unit
def test_the_script_uses_each_word_once() -> None:
    words = script_words()
    assert len(words) == len(set(words))
