"""Images for the engines, one vLLM engine that their tests share, and what it must agree with: transformers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fakescan.engine.config import VllmConfig
from fakescan.engine.contract import Judgement
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.vllm_inprocess import InProcessEngine
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.verdict import Calibration

ASK = JudgingOptions(calibration=Calibration(threshold=0.2), max_new_tokens=40)
"""Images of which the model says real with a score above 0.2 are fake all the same, in its own words real."""

Images = list[NDArray[np.uint8]]


@pytest.fixture(scope="session")
def images() -> Images:
    """60 pictures at the model's input size: gradients of all colours with noise."""
    random = np.random.default_rng(0)
    ramp = np.linspace(-1, 1, 112)
    made = []
    for _ in range(60):
        across, down = (random.normal(0, 60, 3) * ramp[:, None] for _ in range(2))
        noise = random.normal(0, 20, (112, 112, 3))
        picture = random.integers(0, 256, 3) + across[:, None, :] + down[None, :, :] + noise
        made.append(picture.clip(0, 255).astype(np.uint8))
    return made


@pytest.fixture(scope="session")
def checkpoint(tiny_model: Path) -> Checkpoint:
    return open_checkpoint(str(tiny_model))


@pytest.fixture(scope="session")
def vllm_engine(checkpoint: Checkpoint) -> Iterator[InProcessEngine]:
    """One real engine for all tests; it explains what is fake from a score of 0.2 on."""
    # Fewer places than a batch has images, so that requests wait for one another.
    engine = InProcessEngine(VllmConfig(max_num_seqs=16), checkpoint, ASK)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def judged(vllm_engine: InProcessEngine, images: Images) -> list[Judgement]:
    """What the shared engine says of the images, asked in one call."""
    return vllm_engine.judge(images)


@pytest.fixture(scope="session")
def reference(checkpoint: Checkpoint, images: Images) -> list[tuple[float, float]]:
    """The log-probabilities of the words fake and real by transformers, image by image."""
    import torch
    from PIL import Image
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(checkpoint.path, use_fast=False)
    found = []
    for picture in images:
        inputs = processor(text=checkpoint.prompt.text(), images=Image.fromarray(picture), return_tensors="pt")
        with torch.no_grad():
            logprobs = model(**inputs).logits[0, -1].log_softmax(-1)
        found.append((float(logprobs[checkpoint.fake_token_id]), float(logprobs[checkpoint.real_token_id])))
    return found
