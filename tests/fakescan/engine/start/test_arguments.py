"""The user's own arguments for vLLM: what is handed on, and one line for whatever is not."""

from typing import Any

import pytest

from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.engine.factory import check_installed
from fakescan.engine.start.arguments import (
    REFUSED,
    argument_names,
    check_arguments,
    check_length,
    engine_args,
    joined,
)
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"quantization": "fp8"},
        {"kv_cache_dtype": "fp8", "max_model_len": 1024},
        {"block_size": 32, "hf_overrides": {"head_dtype": "model"}},
        {"load_format": "safetensors", "disable_log_stats": False},
    ],
)
def test_whatever_vllm_has_is_handed_on(arguments: dict[str, Any]) -> None:
    check_installed(VllmConfig(arguments=arguments))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("quantisation", "quantization"),
        ("kv_cache_type", "kv_cache_dtype"),
        ("kv-cache-dtype", "kv_cache_dtype"),
        ("max_model_length", "max_model_len"),
    ],
)
def test_a_slip_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"^engine.arguments: vLLM has no argument {name} \(did you mean {meant}\?\)$"):
        check_arguments({name: 1})


@pytest.mark.parametrize("name", ["colour", "_api_process_count", "self"])
def test_what_vllm_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"vLLM has no argument {name}; the names are those of"):
        check_arguments({name: 1})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model", "name it with model"),
        ("seed", "greedy"),
        ("generation_config", "greedy"),
        ("enable_prefix_caching", "every image is new"),
        ("limit_mm_per_prompt", "one with each request"),
        ("dtype", "set engine.dtype"),
        ("tensor_parallel_size", "set gpus_per_replica"),
        ("hf_token", "HF_TOKEN"),
    ],
)
def test_what_is_not_the_users_to_set_is_refused_with_the_reason(name: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^engine.arguments: {name} cannot be set here: .*{words}"):
        check_arguments({"quantization": "fp8", name: 1})


def test_every_refused_name_is_one_of_vllm() -> None:
    assert not REFUSED.keys() - argument_names()


def test_ours_are_those_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read from its source. Importing it takes long, so the test only looks at what must be there."""
    assert {"quantization", "kv_cache_dtype", "hf_overrides", "tensor_parallel_size"} <= argument_names()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    argument_names.cache_clear()
    try:
        check_arguments({"whatever": 1})  # nobody knows without vLLM, which is missed elsewhere
    finally:
        argument_names.cache_clear()


@pytest.mark.parametrize("arguments", [{"load_format": "dummy"}, {"hf_overrides": "head_dtype"}])
def test_values_that_would_make_false_verdicts_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"^engine.arguments: {next(iter(arguments))}"):
        check_arguments(arguments)


def test_a_simulated_engine_takes_none() -> None:
    check_installed(SimulatedConfig())
    with pytest.raises(ValueError, match="arguments"):
        SimulatedConfig.model_validate({"arguments": {"quantization": "fp8"}})


def test_the_users_win_and_overrides_are_joined_name_by_name() -> None:
    ours = {"block_size": 16, "hf_overrides": {"head_dtype": "float32", "text_config": {"head_dtype": "float32"}}}
    given = {"block_size": 32, "hf_overrides": {"text_config": {"rope_theta": 1}, "architectures": ["X"]}}
    assert joined(ours, given) == {
        "block_size": 32,
        "hf_overrides": {
            "head_dtype": "float32",
            "text_config": {"head_dtype": "float32", "rope_theta": 1},
            "architectures": ["X"],
        },
    }
    assert joined(ours, {}) == ours


@pytest.mark.parametrize("length", [899, 0, -1, "1k", True, None, 900.5])
def test_a_context_that_is_too_short_is_refused(length: object) -> None:
    with pytest.raises(UserError, match="max_model_len must be at least 900"):
        check_length({"max_model_len": length}, 900)


def test_a_context_that_is_long_enough_is_not() -> None:
    check_length({"max_model_len": 900}, 900)
    check_length({}, 900)


class Args:
    """In the place of vLLM's EngineArgs."""

    def __init__(self, **arguments: Any) -> None:
        if "colour" in arguments:
            raise TypeError("EngineArgs.__init__() got an unexpected keyword argument 'colour'")
        self.arguments = arguments

    def create_engine_config(self) -> None:
        if self.arguments.get("kv_cache_dtype") == "red":
            raise ValueError("1 validation error for CacheConfig\n  kv_cache_dtype\n    it is red")


@pytest.mark.parametrize("given", [{"colour": 1}, {"kv_cache_dtype": "red"}])
def test_what_vllm_refuses_is_the_users_mistake_in_one_line(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"^engine.arguments: vLLM refuses {next(iter(given))}: ") as caught:
        engine_args(Args, given, given)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__, (
        "Ray hands on a traceback as text, whose first error is taken for the cause"
    )


def test_what_vllm_refuses_of_ours_is_not_the_users_mistake() -> None:
    assert engine_args(Args, {"kv_cache_dtype": "red"}, {}).arguments == {"kv_cache_dtype": "red"}
    assert engine_args(Args, {"kv_cache_dtype": "fp8"}, {"kv_cache_dtype": "fp8"}).arguments == {
        "kv_cache_dtype": "fp8"
    }
