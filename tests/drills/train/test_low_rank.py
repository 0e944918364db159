"""LoRA with DeepSpeed, through Ray: what it writes is what transformers, vLLM and PEFT make of it."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakescan.train.config import TrainConfig
from fakevlm.checkpoint.checkpoint import open_checkpoint
from tests.fakescan.train.result.test_export import (
    assert_adapter_gives_merged_model,
    assert_they_say_the_same,
    low_rank_run,
)
from tests.striped import settings

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_its_export_says_the_same_and_its_adapter_is_in_it(trained: Callable[[str], Any], tiny_model: Path) -> None:
    done = trained("lora")
    assert_they_say_the_same(done.model)
    assert_adapter_gives_merged_model(Path(done.url), tiny_model)


def test_vllm_gives_the_adapter_of_the_language_model_the_scores_of_the_merged_model(
    tiny_model: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1",
    }.items():  # fmt: skip
        monkeypatch.setitem(os.environ, name, value)
    from vllm.lora.request import LoRARequest

    frozen = {"mode": "frozen"}
    config = TrainConfig.model_validate(
        settings(
            tiny_model, labelled, tmp_path, zero=0, workers=1, llm={"mode": "lora"}, vision=frozen, projector=frozen,
            lora={"rank": 8}, lr=1e-2,
        )
    )  # fmt: skip
    run = low_rank_run(config)
    start = scores(tiny_model, enable_lora=True, max_lora_rank=8)
    added = scores(tiny_model, LoRARequest("adapter", 1, str(run / "adapter")), enable_lora=True, max_lora_rank=8)
    merged = scores(run / "model")
    assert np.abs(merged - start).max() > 0.1, "it has learnt something"
    assert np.abs(added - merged).max() < 1e-3


def scores(model: Path, adapter: Any = None, **options: Any) -> Any:
    """Log-probabilities of the two verdict words for three images, float[3, 2], by vLLM."""
    from PIL import Image
    from vllm import LLM, SamplingParams

    checkpoint = open_checkpoint(str(model))
    engine = LLM(
        model=str(checkpoint.path), enforce_eager=True, max_model_len=256, max_num_seqs=4, dtype="float32",
        limit_mm_per_prompt={"image": 1}, mm_processor_cache_gb=0, enable_prefix_caching=False, **options,
    )  # fmt: skip
    words = [checkpoint.fake_token_id, checkpoint.real_token_id]
    draw = np.random.default_rng(0)
    prompts: list[Any] = [
        {
            "prompt": checkpoint.prompt.text(),
            "multi_modal_data": {"image": Image.fromarray(draw.integers(0, 256, (112, 112, 3), dtype=np.uint8))},
        }
        for _ in range(3)
    ]
    sampling = SamplingParams(max_tokens=1, temperature=0, logprob_token_ids=words)
    found = engine.generate(prompts, sampling, lora_request=adapter, use_tqdm=False)
    del engine
    gc.collect()
    return np.array([[output.outputs[0].logprobs[0][word].logprob for word in words] for output in found])
