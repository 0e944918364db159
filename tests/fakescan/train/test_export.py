"""What training writes is what transformers and vLLM load: the same tokens, the same scores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakescan.engine.config import VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.vllm_inprocess import InProcessEngine
from fakescan.train.export import knows_generators
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.data.collate import Collator, normalise
from fakevlm.data.record import FAKE, REAL, Record

pytestmark = [pytest.mark.engine, pytest.mark.timeout(500)]

TOKENS = 12


@pytest.mark.parametrize("kind", ["zero 3", "lora"])
def test_transformers_and_vllm_say_the_same(kind: str, trained: Callable[[str], Any]) -> None:
    checkpoint = open_checkpoint(trained(kind).model)
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


def test_the_adapter_alone_gives_the_merged_model(trained: Callable[[str], Any], tiny_model: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import LlavaForConditionalGeneration

    done = trained("lora")
    merged = LlavaForConditionalGeneration.from_pretrained(done.model, dtype=torch.float32)
    adapter = Path(done.url) / "adapter"
    base = LlavaForConditionalGeneration.from_pretrained(tiny_model, dtype=torch.float32)
    together = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    for name, value in merged.named_parameters():
        assert torch.allclose(value, dict(together.named_parameters())[name], atol=1e-6), name


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
