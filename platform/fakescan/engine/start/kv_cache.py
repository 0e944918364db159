"""The KV cache of an engine on a CPU: what its requests can need, where that is less than it may take."""

import math
from collections.abc import Mapping
from typing import Any

from fakescan.engine.config import VllmConfig
from fakescan.engine.start.number_types import NumberTypes, bytes_of
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.config_files import read_config, text_config

BLOCK_TOKENS = 128
"""Tokens of a block of vLLM's cache on a CPU."""
_SPARE_BLOCKS = 8
"""Beyond those of the requests: vLLM keeps one back, and frees those of a request after the next ones have theirs."""
_CHANGES = frozenset(
    (
        "block_size",
        "kv_cache_dtype",
        "kv_cache_memory_bytes",
        "num_gpu_blocks_override",
        "hf_overrides",
        "max_model_len",
    )
)
"""Arguments of vLLM with which a cache has another size than is reckoned here; so do those of speculative decoding."""


def kv_cache_bytes(config: VllmConfig, checkpoint: Checkpoint, types: NumberTypes, tokens: int, seqs: int) -> int:
    """Bytes for the cache of an engine with `seqs` requests of up to `tokens` tokens at once: at most `kv_cache_gib`.

    vLLM takes blocks from one end of its cache and gives them back at the other, so that it comes to use all of a cache
    however small its requests are: a gibibyte of memory for a model whose requests need 60 megabytes at most, and every
    step works on memory that no core has in its own cache.
    """
    most = config.kv_cache_gib * 2**30
    if not _CHANGES.isdisjoint(config.arguments) or any("speculative" in name for name in config.arguments):
        return most
    blocks = seqs * math.ceil(tokens / BLOCK_TOKENS) + _SPARE_BLOCKS
    return min(most, blocks * BLOCK_TOKENS * _token_bytes(text_config(read_config(checkpoint.path)), types))


def _token_bytes(text: Mapping[str, Any], types: NumberTypes) -> int:
    """Bytes of a token's keys and values in all layers."""
    heads = text["num_attention_heads"]
    width = text.get("head_dim") or text["hidden_size"] // heads
    key_heads = text.get("num_key_value_heads") or heads
    return int(2 * text["num_hidden_layers"] * key_heads * width * bytes_of(types.weights))
