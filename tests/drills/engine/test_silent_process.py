"""vLLM's own process is stopped, as one that hangs: it counts as dead, and nothing of it is left."""

import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from fakescan.engine.config import VllmConfig
from fakescan.engine.contract import EngineDiedError
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.vllm_async import AsyncEngine
from fakevlm.checkpoint.checkpoint import open_checkpoint

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_a_process_that_is_stopped_is_dead_after_stall_s(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING", raising=False)
    engine = AsyncEngine(
        VllmConfig(max_num_seqs=8, stall_s=5.0), open_checkpoint(str(tiny_model)), JudgingOptions(), "cpu"
    )
    images = list(np.random.default_rng(0).integers(0, 256, (20, 112, 112, 3), dtype=np.uint8))
    assert [one.error for one in engine.judge(images)] == [None] * 20
    (process,) = [child for child in psutil.Process().children(recursive=True) if "EngineCore" in child.name()]
    os.kill(process.pid, signal.SIGSTOP)
    # A client that gives up before that does not make it look alive.
    given_up = engine.submit(images[0])
    given_up.cancel()
    for _ in range(2):
        with pytest.raises(EngineDiedError, match="stall_s"):
            engine.judge(images)
    assert "stall_s" in (engine.died or "")
    process.wait(10)  # nothing is left that would hold a GPU
