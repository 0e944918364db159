"""Fractions of a GPU and several of them: memory, parallel layers, and starts that come after one another."""

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fakescan.engine.config import VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.start import gpu_share
from fakescan.engine.start.gpu_share import memory_share, parallel_size, runtime_folder, starting_alone
from fakescan.engine.start.number_types import NumberTypes
from fakescan.engine.start.start_up import StartUp
from fakescan.engine.vllm_setup import engine_arguments
from fakescan.scan.config import ScanConfig
from fakescan.serve.config import ServeConfig
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.checkpoint.progress import Step
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit

TYPES = NumberTypes(weights="float16", head="float32")


@pytest.fixture(scope="module")
def opened(tiny_model: Path) -> Checkpoint:
    return open_checkpoint(str(tiny_model))


@pytest.fixture(scope="module")
def wide(opened: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """LLaVA-1.5's 32 and 16 attention heads."""
    folder = Path(shutil.copytree(opened.path, tmp_path_factory.mktemp("wide") / "model"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_attention_heads"], config["vision_config"]["num_attention_heads"] = 32, 16
    (folder / "config.json").write_text(json.dumps(config))
    return dataclasses.replace(opened, path=folder)


@pytest.mark.parametrize("gpus", [1.5, 2.25, 7.9])
@pytest.mark.parametrize(
    ("settings", "base"), [(ScanConfig, {"source": "s", "output": "o"}), (ServeConfig, {"no_auth": True})]
)
def test_one_and_a_half_gpus_are_refused(settings: Any, base: dict[str, Any], gpus: float) -> None:
    with pytest.raises(ValidationError, match="above 1 it must be a whole number"):
        settings.model_validate({**base, "gpus_per_replica": gpus})
    for fine in (0, 0.25, 0.5, 1, 2, 8):
        assert settings.model_validate({**base, "gpus_per_replica": fine}).gpus_per_replica == fine


@pytest.mark.parametrize(("gpus", "share"), [(1.0, 0.9), (0.5, 0.45), (0.25, 0.225), (2.0, 0.9)])
def test_a_fraction_of_a_gpu_takes_its_part_of_the_memory(opened: Checkpoint, gpus: float, share: float) -> None:
    assert memory_share(0.9, gpus) == pytest.approx(share)
    if gpus <= 1:
        made = engine_arguments(VllmConfig(), opened, JudgingOptions(), "cuda", StartUp(TYPES, gpus))
        assert made["gpu_memory_utilization"] == pytest.approx(share)
        assert "tensor_parallel_size" not in made
        assert "distributed_executor_backend" not in made


@pytest.mark.parametrize("gpus", [2.0, 4.0, 8.0])
def test_several_gpus_work_as_one_engine(wide: Checkpoint, gpus: float) -> None:
    made = engine_arguments(VllmConfig(), wide, JudgingOptions(), "cuda", StartUp(TYPES, gpus))
    assert made["tensor_parallel_size"] == gpus
    assert made["distributed_executor_backend"] == "mp"
    assert made["gpu_memory_utilization"] == 0.9
    assert made["hf_overrides"] == {"head_dtype": "float32", "text_config": {"head_dtype": "float32"}}


def test_gpus_that_do_not_divide_the_model_are_refused(wide: Checkpoint) -> None:
    with pytest.raises(UserError, match=r"^gpus_per_replica: 3 GPUs .* 32 and 16 .* must be 1 or 2 or 4 or 8 or 16$"):
        parallel_size(wide, 3.0)


def test_the_users_arguments_are_handed_on(opened: Checkpoint) -> None:
    config = VllmConfig(arguments={"quantization": "fp8", "kv_cache_dtype": "fp8", "max_model_len": 2048})
    made = engine_arguments(config, opened, JudgingOptions(), "cuda", StartUp(TYPES))
    assert (made["quantization"], made["kv_cache_dtype"], made["max_model_len"]) == ("fp8", "fp8", 2048)
    short = VllmConfig(arguments={"max_model_len": 100})
    with pytest.raises(UserError, match="max_model_len must be at least 384"):
        engine_arguments(short, opened, JudgingOptions(), "cuda", StartUp(TYPES))


def _hold(gpus: float, entered: Any, leave: Any, waits: Any) -> None:
    with starting_alone(StartUp(TYPES, gpus, lambda step: waits.set())):
        entered.set()
        leave.wait(30)


@pytest.mark.parametrize("dies", [False, True])
def test_engines_on_one_gpu_start_after_one_another(monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    """The second one says why it waits, and goes on when the first has started, or has died."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"test-{os.getpid()}-{dies}")
    process = multiprocessing.get_context("fork")
    events = [[process.Event() for _ in range(3)] for _ in range(2)]
    first, second = (process.Process(target=_hold, args=(0.5, *each), daemon=True) for each in events)
    first.start()
    assert events[0][0].wait(10)
    second.start()
    assert events[1][2].wait(10), "it says that it waits"
    assert not events[1][0].is_set()
    if dies:
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
    else:
        events[0][1].set()
    assert events[1][0].wait(10)
    events[1][1].set()
    for one in (first, second):
        one.join(10)
    assert second.exitcode == 0


def test_engines_with_whole_gpus_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_share, "locked", lambda *_: pytest.fail("it took a lock"))
    for gpus in (1.0, 2.0):
        heard: list[Step] = []
        with starting_alone(StartUp(TYPES, gpus, heard.append)):
            pass
        assert heard == []


def test_a_folder_for_locks_that_somebody_else_has_made_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert runtime_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(gpu_share, "Path", lambda place: tmp_path)
    (tmp_path / f"fakescan-{os.getuid()}").symlink_to("/etc")
    with pytest.raises(UserError, match="belongs to another user"):
        runtime_folder()
