"""A checkpoint of random numbers speaks the self-test's words, tells images apart, and ends its explanations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu_bench.real_sizes import answers as long_answers
from fakescan.engine.config import VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.vllm_inprocess import InProcessEngine
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.checkpoint.self_test import self_test
from tools.real_size_checkpoint import ANSWERS, build
from tools.small_checkpoint.llava_files import LlavaSizes
from tools.small_checkpoint.start import SMALL

pytestmark = pytest.mark.engine

LARGER = replace(SMALL, text_tokens=4094, vocab=4096)
"""Room for the words of long answers."""


@pytest.mark.parametrize(
    ("dtype", "sizes", "answers"),
    [("float16", SMALL, ANSWERS), ("bfloat16", SMALL, ANSWERS), ("bfloat16", LARGER, long_answers())],
)
def test_random_numbers_pass_the_self_test(
    dtype: str, sizes: LlavaSizes, answers: tuple[str, str], tmp_path: Path
) -> None:
    """The sizes are small ones; the real ones are 14 GB."""
    checkpoint = open_checkpoint(str(build(tmp_path / "model", sizes, dtype=dtype, answers=answers, llama=False)))
    self_test(checkpoint)
    assert (checkpoint.dtype, checkpoint.trained) == (dtype, False)
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(8)]
    engine = InProcessEngine(VllmConfig(max_num_seqs=8), checkpoint, JudgingOptions(explain="all"))
    try:
        judgements = engine.judge(images)
    finally:
        engine.close()
    assert {judgement.error for judgement in judgements} == {None}
    said = {judgement.explanation for judgement in judgements}
    assert said <= {answer.removesuffix("</s>") for answer in answers}
    assert len({judgement.logprob_fake for judgement in judgements}) == len(images)
