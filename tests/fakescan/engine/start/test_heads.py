"""The head in float32: the logits of a 16-bit checkpoint are finer than the numbers it is stored in."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from fakescan.engine.config import VllmConfig
from fakescan.engine.contract import Judgement
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.start.number_types import NumberTypes, has_bfloat16
from fakescan.engine.start.start_up import StartUp
from fakescan.engine.vllm_inprocess import InProcessEngine
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.checkpoint.progress import Step
from tests.fakescan.engine.conftest import Images

pytestmark = pytest.mark.engine

STEP = 2.0**-9
"""Logits from 0.25 on have no smaller steps in bfloat16, and so have their differences."""


def stored_as(dtype: str, model: Path, folder: Path) -> Checkpoint:
    """The same checkpoint with its weights in another number type."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    file = folder / "model.safetensors"
    tensors = {name: tensor.to(getattr(torch, dtype)) for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["torch_dtype"] = config["text_config"]["torch_dtype"] = dtype
    (folder / "config.json").write_text(json.dumps(config))
    return open_checkpoint(str(folder))


def judge(checkpoint: Checkpoint, images: Images, start: StartUp) -> list[Judgement]:
    engine = InProcessEngine(VllmConfig(max_num_seqs=8), checkpoint, JudgingOptions(explain="none"), start)
    try:
        return engine.judge(images)
    finally:
        engine.close()


def on_the_grid(judgements: list[Judgement]) -> float:
    """Share of the logits that are multiples of bfloat16's steps, but for float32's own rounding."""
    logits = np.array([one.logprob_fake - one.logprob_real for one in judgements])
    assert np.isfinite(logits).all()
    return float((np.abs(logits / STEP - np.round(logits / STEP)) < 0.01).mean())


def test_logits_of_16_bits_come_in_finer_steps_than_16_bits_have(
    tiny_model: Path, tmp_path: Path, images: Images, judged: list[Judgement]
) -> None:
    checkpoint = stored_as("bfloat16", tiny_model, tmp_path / "bfloat16")
    assert checkpoint.dtype == "bfloat16"
    coarse = judge(checkpoint, images[:30], StartUp(NumberTypes(weights="bfloat16", head="model")))
    heard: list[Step] = []
    fine = judge(checkpoint, images[:30], StartUp(report=heard.append))
    assert on_the_grid(coarse) > 0.9
    assert on_the_grid(fine) < 0.2
    for one, other in zip(fine, judged, strict=False):
        assert one.logprob_fake == pytest.approx(other.logprob_fake, abs=0.2)
    assert [step.what for step in heard] == ["loading the engine (7.9 MB of weights)", "testing the engine"]


@pytest.mark.skipif(not has_bfloat16(), reason="this CPU has no bfloat16")
def test_float16_weights_run_in_bfloat16_on_a_cpu_and_it_says_so(
    tiny_model: Path, tmp_path: Path, images: Images, judged: list[Judgement], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = stored_as("float16", tiny_model, tmp_path / "float16")
    with caplog.at_level(logging.WARNING, logger="fakescan"):
        found = judge(checkpoint, images[:10], StartUp())
    assert [record.message for record in caplog.records if record.name.startswith("fakescan")] == [
        "float16 weights run in bfloat16 on this CPU"
    ]
    for one, other in zip(found, judged, strict=False):
        assert one.logprob_fake == pytest.approx(other.logprob_fake, abs=0.2)
