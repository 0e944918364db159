"""The KV cache of a CPU engine: what its requests can need, and never more than the settings allow."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from fakescan.engine.config import VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.start.kv_cache import BLOCK_TOKENS, kv_cache_bytes
from fakescan.engine.start.number_types import NumberTypes
from fakescan.engine.vllm_setup import engine_arguments
from fakevlm.builtin import BUILT_IN
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint

pytestmark = pytest.mark.unit

FLOAT32, BFLOAT16 = (NumberTypes(weights=weights, head="float32") for weights in ("float32", "bfloat16"))
GIB = 2**30


@pytest.fixture(scope="module")
def built_in() -> Checkpoint:
    return open_checkpoint(str(BUILT_IN))


def with_text(built_in: Checkpoint, folder: Path, **text: Any) -> Checkpoint:
    """The checkpoint with another `text_config`; None takes a key away."""
    config = json.loads((BUILT_IN / "config.json").read_text())
    config["text_config"] = {k: v for k, v in {**config["text_config"], **text}.items() if v is not None}
    (folder / "config.json").write_text(json.dumps(config))
    return dataclasses.replace(built_in, path=folder)


def test_a_small_model_gets_what_its_requests_can_need(built_in: Checkpoint) -> None:
    size = kv_cache_bytes(VllmConfig(), built_in, FLOAT32, tokens=384, seqs=32)
    block = BLOCK_TOKENS * 2 * 3 * 3 * 64 * 4  # keys and values, layers, heads, width, float32
    assert size % block == 0
    assert 32 * 3 + 1 <= size // block <= 32 * 3 + 16, "all requests at once, each with its longest answer"
    assert kv_cache_bytes(VllmConfig(), built_in, BFLOAT16, tokens=384, seqs=32) == size // 2


def test_a_large_one_gets_what_the_settings_allow(built_in: Checkpoint, tmp_path: Path) -> None:
    sizes = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
    vicuna = with_text(built_in, tmp_path, **sizes, num_key_value_heads=None)
    assert kv_cache_bytes(VllmConfig(), vicuna, BFLOAT16, tokens=896, seqs=32) == GIB
    assert kv_cache_bytes(VllmConfig(kv_cache_gib=8), vicuna, BFLOAT16, tokens=896, seqs=32) == 8 * GIB
    assert kv_cache_bytes(VllmConfig(kv_cache_gib=64), vicuna, BFLOAT16, tokens=896, seqs=32) < 16 * GIB


def test_shared_heads_and_their_width_are_read(built_in: Checkpoint, tmp_path: Path) -> None:
    whole = kv_cache_bytes(VllmConfig(), built_in, FLOAT32, tokens=384, seqs=32)
    shared = with_text(built_in, tmp_path, num_key_value_heads=1)
    assert kv_cache_bytes(VllmConfig(), shared, FLOAT32, tokens=384, seqs=32) == whole // 3
    wide = with_text(built_in, tmp_path, head_dim=128)
    assert kv_cache_bytes(VllmConfig(), wide, FLOAT32, tokens=384, seqs=32) == 2 * whole


@pytest.mark.parametrize(
    "arguments",
    [
        {"block_size": 32},
        {"max_model_len": 1000},
        {"num_gpu_blocks_override": 50},
        {"kv_cache_memory_bytes": 10**9},
        {"kv_cache_dtype": "fp8"},
        {"speculative_config": {"method": "ngram"}},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_whoever_changes_the_cache_gets_all_of_it(built_in: Checkpoint, arguments: dict[str, Any]) -> None:
    config = VllmConfig(arguments=arguments)
    assert kv_cache_bytes(config, built_in, FLOAT32, tokens=384, seqs=32) == GIB


def test_vllm_is_told_and_the_users_word_counts(built_in: Checkpoint) -> None:
    made = engine_arguments(VllmConfig(), built_in, JudgingOptions(), "cpu")
    assert made["kv_cache_memory_bytes"] < GIB // 8
    more = engine_arguments(VllmConfig(max_num_seqs=64), built_in, JudgingOptions(), "cpu")
    assert made["kv_cache_memory_bytes"] < more["kv_cache_memory_bytes"] < 2 * made["kv_cache_memory_bytes"]
    config = VllmConfig(arguments={"kv_cache_memory_bytes": 10**9})
    assert engine_arguments(config, built_in, JudgingOptions(), "cpu")["kv_cache_memory_bytes"] == 10**9
