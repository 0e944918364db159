"""What a run computes in is decided once, written down, and kept by whatever machine goes on with it."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.start import number_types
from fakescan.engine.start.number_types import NumberTypes, first_types
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile, new_run, refuse_change
from fakescan.scan.config import ScanConfig
from fakescan.scan.start.number_types import decide_types
from fakescan.scan.start.prepare import identity_of
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def float16(tiny_model: Path) -> Checkpoint:
    return dataclasses.replace(open_checkpoint(str(tiny_model)), dtype="float16")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path / "run"), Store())


def begun(checkpoint: Checkpoint, folder: RunFolder, **engine: Any) -> RunFile:
    config = ScanConfig.model_validate({"source": "/images", "output": "/out", "engine": {"kind": "vllm", **engine}})
    identity = identity_of(config, checkpoint, JudgingOptions())
    run = new_run(
        identity, "m", None, fingerprint="f", rows=9, population=9, shard_rows=9,
        numbers=first_types(config.engine, checkpoint),
    )  # fmt: skip
    folder.save(run)
    return run


def again(folder: RunFolder) -> RunFile:
    run = folder.load()
    assert run is not None
    return run


def test_a_cpu_decides_for_whatever_goes_on(
    float16: Checkpoint, folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(number_types, "has_bfloat16", lambda: True)
    run = begun(float16, folder)
    assert run.numbers == NumberTypes(weights="auto", head="float32")
    with caplog.at_level(logging.WARNING):
        types = decide_types(folder, run, VllmConfig(), float16, "cpu")
    assert types == NumberTypes(weights="bfloat16", head="float32") == again(folder).numbers
    assert caplog.messages == ["float16 weights run in bfloat16 on this CPU"]
    monkeypatch.setattr(number_types, "has_bfloat16", lambda: False)
    assert decide_types(folder, again(folder), VllmConfig(), float16, "cpu") == types
    assert decide_types(folder, again(folder), VllmConfig(), float16, "cuda") == types


def test_a_run_of_a_gpu_is_slow_on_a_cpu_and_says_so(
    float16: Checkpoint, folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    types = decide_types(folder, begun(float16, folder), VllmConfig(), float16, "cuda")
    assert types == NumberTypes(weights="float16", head="float32")
    assert caplog.messages == []
    assert decide_types(folder, again(folder), VllmConfig(), float16, "cpu") == types
    assert caplog.messages == [
        "the run computes in float16, as it began; a CPU does so very slowly: go on with it on a GPU, "
        "or use another --output"
    ]


def test_a_run_from_before_goes_on_as_it_began(float16: Checkpoint, folder: RunFolder) -> None:
    written = begun(float16, folder).model_dump(mode="json")
    del written["numbers"], written["identity"]["engine_arguments"]
    earlier = RunFile.model_validate_json(json.dumps(written))
    config = ScanConfig(source="/images", output="/out")
    refuse_change("/out", earlier, identity_of(config, float16, JudgingOptions()), None)
    assert decide_types(folder, earlier, VllmConfig(), float16, "cpu") == NumberTypes(weights="float16", head="model")


def test_a_simulated_engine_computes_in_nothing(float16: Checkpoint, folder: RunFolder) -> None:
    config = ScanConfig.model_validate({"source": "/images", "output": "/out", "engine": "fake"})
    run = new_run(
        identity_of(config, float16, JudgingOptions()),
        "m", None, fingerprint="f", rows=9, population=9, shard_rows=9,
        numbers=first_types(config.engine, float16),
    )  # fmt: skip
    assert run.numbers is None
    assert decide_types(folder, run, SimulatedConfig(), float16, "cpu") is None


def test_other_arguments_of_the_engine_are_another_run(float16: Checkpoint, folder: RunFolder) -> None:
    run = begun(float16, folder, arguments={"quantization": "fp8"})
    same = {"kind": "vllm", "arguments": {"quantization": "fp8"}}
    for engine, words in (
        (same, ""),
        ("vllm", "engine_arguments.quantization was fp8, now not set"),
        ({"kind": "vllm", "arguments": {"quantization": "int8"}}, "engine_arguments.quantization was fp8, now int8"),
        (
            {**same, "arguments": {"quantization": "fp8", "kv_cache_dtype": "fp8"}},
            "engine_arguments.kv_cache_dtype was not set, now fp8",
        ),
    ):
        config = ScanConfig.model_validate({"source": "/images", "output": "/out", "engine": engine})
        wanted = identity_of(config, float16, JudgingOptions())
        if not words:
            refuse_change("/out", again(folder), wanted, None)
            continue
        with pytest.raises(UserError, match=words):
            refuse_change("/out", run, wanted, None)
