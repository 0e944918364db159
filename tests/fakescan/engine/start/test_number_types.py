"""Number types: float16 does not run on a CPU, what is decided stays, and memory that is not there is missed."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.engine.start import number_types
from fakescan.engine.start.number_types import (
    NumberTypes,
    conversion,
    decided,
    earlier_types,
    first_types,
    free_memory,
    has_bfloat16,
    require_memory,
)
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def opened(tiny_model: Path) -> Checkpoint:
    return open_checkpoint(str(tiny_model))


def stored(opened: Checkpoint, dtype: str, **changes: Any) -> Checkpoint:
    return dataclasses.replace(opened, dtype=dtype, **changes)


def cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n\nprocessor\t: 1\n{line}\n")
    monkeypatch.setattr(number_types, "_CPU_INFO", tmp_path / "cpuinfo")


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16 sse2", True),
        ("flags\t\t: fpu amx_tile amx_bf16", True),
        ("Features\t: fp asimd bf16 i8mm", True),
        ("flags\t\t: fpu avx2 avx512f avx512_fp16 sse2", False),
        ("Features\t: fp asimd", False),
        ("vendor_id : x", False),
    ],
)
def test_what_the_cpu_says_of_bfloat16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, has: bool) -> None:
    cpu(monkeypatch, tmp_path, line)
    assert has_bfloat16() is has


@pytest.mark.parametrize(
    ("dtype", "weights", "device", "runs"),
    [
        ("auto", "float32", "cpu", "float32"),
        ("auto", "bfloat16", "cpu", "bfloat16"),
        ("auto", "float16", "cpu", "bfloat16"),
        ("auto", "float16", "cuda", "float16"),
        ("float16", "float16", "cpu", "float16"),
        ("half", "bfloat16", "cpu", "float16"),
        ("float32", "float16", "cpu", "float32"),
        ("bfloat16", "float16", "cuda", "bfloat16"),
    ],
)
def test_what_weights_run_in(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    opened: Checkpoint,
    dtype: str,
    weights: str,
    device: Any,
    runs: str,
) -> None:
    cpu(monkeypatch, tmp_path, "flags : avx512_bf16")
    first = first_types(VllmConfig(dtype=dtype), stored(opened, weights))
    assert first is not None
    assert decided(first, device) == NumberTypes(weights=runs, head="float32")
    earlier = earlier_types(VllmConfig(dtype=dtype), stored(opened, weights))
    assert earlier is not None
    assert earlier.head == "model", "runs from before the head was in float32 go on as they began"
    assert earlier.overrides == {}


def test_a_cpu_without_bfloat16_takes_float32_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, opened: Checkpoint
) -> None:
    cpu(monkeypatch, tmp_path, "flags : avx2")
    first = first_types(VllmConfig(), stored(opened, "float16"))
    assert first is not None
    types = decided(first, "cpu")
    assert types.weights == "float32"
    assert conversion(types, "cpu") == (
        "float16 weights run in float32 on this CPU, which has no instructions for bfloat16"
    )
    assert conversion(types, "cuda") == ""


def test_what_was_decided_is_not_decided_again(opened: Checkpoint) -> None:
    types = NumberTypes(weights="float32", head="float32")
    assert decided(types, "cuda") == types
    assert first_types(SimulatedConfig(), opened) is None
    assert earlier_types(SimulatedConfig(), opened) is None


def test_only_16_bit_weights_need_another_head(opened: Checkpoint) -> None:
    assert NumberTypes(weights="float32", head="float32").overrides == {}
    assert NumberTypes(weights="bfloat16", head="float32").overrides == {
        "head_dtype": "float32",
        "text_config": {"head_dtype": "float32"},
    }
    chosen = first_types(VllmConfig(arguments={"hf_overrides": {"head_dtype": "model"}}), stored(opened, "bfloat16"))
    assert chosen == NumberTypes(weights="bfloat16", head="model")


def test_weights_larger_than_the_memory_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, opened: Checkpoint
) -> None:
    monkeypatch.setattr(number_types, "free_memory", lambda: 20 * 10**9)
    real = stored(opened, "float16", parameters=7_063_427_072)
    require_memory(2**30, real, NumberTypes(weights="bfloat16", head="float32"))
    with pytest.raises(UserError) as caught:
        require_memory(2**30, real, NumberTypes(weights="float32", head="float32"))
    assert str(caught.value).startswith(
        "model: its weights in float32 and the cache take 29.3 GB of memory, and 20.0 GB are free; use a machine"
    )
    assert "engine.dtype to bfloat16" in str(caught.value)


def test_the_container_bounds_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:  8000000 kB\nSwapFree:  1000000 kB\n")
    monkeypatch.setattr(number_types, "_MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(number_types, "_CGROUP", tmp_path)
    assert free_memory() == 9_000_000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("500\n")
    assert free_memory() == 9_000_000 * 1024
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    assert free_memory() == 500_000_000
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 300000000\nactive_file 100000000\n")
    assert free_memory() == 900_000_000
    (tmp_path / "meminfo").write_text("nothing\n")
    assert free_memory() is None
