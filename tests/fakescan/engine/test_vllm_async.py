"""vLLM in a process of its own, the GPU engine, here on a CPU: the same judgements, and a death that is noticed."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from fakescan.engine.config import VllmConfig
from fakescan.engine.contract import EngineDiedError, Judgement
from fakescan.engine.factory import open_engine
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.start.start_up import StartUp
from fakescan.engine.vllm_async import AsyncEngine
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.verdict import score_tokens
from tests.fakescan.engine.conftest import ASK, Images
from tests.fakescan.engine.refusals import REFUSED_RGB, too_long

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine(checkpoint: Checkpoint) -> Iterator[AsyncEngine]:
    with pytest.MonkeyPatch.context() as patch:
        # The in-process engine sets it for its own process, which here is the same.
        patch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING", raising=False)
        engine = open_engine(VllmConfig(max_num_seqs=16), checkpoint, ASK, "cpu", StartUp(own_process=True))
        assert isinstance(engine, AsyncEngine)
        yield engine
        engine.close()


def test_it_judges_as_the_engine_in_process_and_says_so_when_its_process_dies(
    engine: AsyncEngine, images: Images, judged: list[Judgement]
) -> None:
    """One test for both: its start takes half a minute."""
    found = engine.judge(images)
    for one, other in zip(found, judged, strict=True):
        assert (one.error, one.explanation) == (None, other.explanation)
        scores = [score_tokens(each.logprob_fake, each.logprob_real, ASK.calibration).score for each in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-3)
    assert engine.max_num_seqs == 16

    heard: list[Judgement] = []
    options = JudgingOptions(explain="all", max_new_tokens=20)
    futures = [engine.submit(image, options) for image in images[1:40]]
    watched = engine.submit(images[0], options, heard.append)
    assert any([future.cancel() for future in futures])
    whole = watched.result().explanation or ""
    assert len(heard) > 2
    assert all(whole.startswith(judgement.explanation or "") for judgement in heard)

    strange, seen = images[0].copy(), list[int]()
    strange[0, 0] = REFUSED_RGB
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine._requests, "input", too_long(engine._requests.input, seen, times=2))
        refused = engine.judge([images[1], strange])
        again = engine.judge([strange])[0]
    assert refused[0].error is None
    assert "the engine refused the image: VLLMValidationError: " in (refused[1].error or "")
    assert again.error is None
    assert engine.died is None

    (process,) = [child for child in psutil.Process().children(recursive=True) if "EngineCore" in child.name()]
    os.kill(process.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(EngineDiedError):
            engine.judge(images)
    assert engine.died is not None
