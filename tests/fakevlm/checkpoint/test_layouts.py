"""Checkpoints of every layout: the same tokens, scores and answers in vLLM and in transformers."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.checkpoint.self_test import self_test
from fakevlm.checkpoint.tokens import PromptTokens
from fakevlm.preprocess import fit
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import Calibration, Verdict, parse_answer, score_tokens
from tests.fakevlm.checkpoint.twin import build_twin

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
    """The small model, the same as transformers 5 saves it, and the twin, each with its input pixels."""
    folder = tmp_path_factory.mktemp("models")
    places = {"small": tiny_model, "saved": folder / "saved", "twin": build_twin(folder / "twin")}
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
def by_transformers(models: dict[str, Model]) -> Callable[[str], list[Answer]]:
    """What each model answers; it is asked when its answers are first wanted."""
    return functools.cache(lambda name: ask_transformers(models[name]))


def ask_transformers(model: Model) -> list[Answer]:
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    checkpoint = model.checkpoint
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the models are tiny, and threads that spin for each other stall on a busy machine
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
            written = llava.generate(**free, max_new_tokens=20, do_sample=False)[0, free["input_ids"].shape[1] :]
        text = processor.decode(written, skip_special_tokens=True)
        answers.append(Answer(scored["input_ids"].shape[1], (logprobs[0], logprobs[1]), text))
    torch.set_num_threads(threads)
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


NAMES = ["small", "saved", "twin"]


@pytest.mark.engine
@pytest.mark.parametrize("name", NAMES)
def test_vllm_and_transformers_give_equal_scores_and_answers(
    name: str,
    by_vllm: dict[str, list[Answer]],
    by_transformers: Callable[[str], list[Answer]],
    models: dict[str, Model],
) -> None:
    scores = []
    for one, other in zip(by_vllm[name], by_transformers(name), strict=True):
        assert one.prompt_tokens == other.prompt_tokens == models[name].checkpoint.prompt_tokens
        a, b = (score_tokens(*answer.logprobs, Calibration()) for answer in (one, other))
        assert a == pytest.approx(b, abs=1e-3)
        assert one.text.strip() == other.text.strip()
        scores.append(a.logit)
    assert np.std(scores) > 0.1, "the image makes no difference"


@pytest.mark.engine
def test_saving_anew_changes_no_score(by_vllm: dict[str, list[Answer]], models: dict[str, Model]) -> None:
    assert models["saved"].checkpoint.path != Path(models["saved"].checkpoint.location), "a converted view"
    for one, other in zip(by_vllm["small"], by_vllm["saved"], strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
        assert one.text == other.text


@pytest.mark.unit
def test_an_answer_begins_with_the_verdict_that_its_score_gives(
    by_transformers: Callable[[str], list[Answer]],
) -> None:
    for answer in by_transformers("small"):
        fake, real = answer.logprobs
        verdict = Verdict.FAKE if fake > real else Verdict.REAL
        assert answer.text.strip().startswith(f"This is a {verdict} image. ")
        assert parse_answer(answer.text) is verdict
        assert score_tokens(fake, real, Calibration()).off_script < 0.1


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
