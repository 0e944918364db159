"""Values of repeatable options: words that mean something, and text that stays text."""

from typing import Any

import pytest

from fakescan.cli.options.flags import settings_of, store_from_flags
from fakescan.engine.config import VllmConfig
from fakescan.scan.config import ScanConfig
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("requester_pays=false", False), ("requester_pays=False", False), ("requester_pays=TRUE", True),
        ("default_cache_type=none", None), ("token=null", None), ("key=falsehood", "falsehood"), ("key=0", "0"),
        ("secret=a=b", "a=b"), ("key=", ""),
    ],
)  # fmt: skip
def test_words_mean_what_they_say(option: str, value: Any) -> None:
    ((_, secret),) = store_from_flags("input", {"input_option": (option,)}).options.items()
    assert secret.get_secret_value() == value


BASE = {"source": "s", "output": "o"}


def arguments_of(file: object, *given: str, engine: str | None = None) -> dict[str, object]:
    flags = {**BASE, "engine": engine, "engine_arguments": given}
    config = settings_of(ScanConfig, flags, command="scan", file={} if file is None else {"engine": file})
    assert isinstance(config.engine, VllmConfig)
    return config.engine.arguments


def test_arguments_for_the_engine_are_yaml_and_take_precedence_over_the_files() -> None:
    given = ("quantization=fp8", "block-size=32", "enable_lora=false", "hf_overrides={head_dtype: model}", "a=b=c")
    assert arguments_of(None, *given) == {
        "quantization": "fp8",
        "block_size": 32,
        "enable_lora": False,
        "hf_overrides": {"head_dtype": "model"},
        "a": "b=c",
    }
    file = {"max_num_seqs": 4, "arguments": {"quantization": "fp8", "block_size": 16}}
    assert arguments_of(file, "block_size=32") == {"quantization": "fp8", "block_size": 32}
    assert arguments_of(file) == {"quantization": "fp8", "block_size": 16}
    assert arguments_of("vllm", "block_size=32", engine="vllm") == {"block_size": 32}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("quantization", "'quantization' is not NAME=VALUE"),
        ("=fp8", "'=fp8' is not NAME=VALUE"),
        ("a={", "'a={': line 1"),
    ],
)
def test_an_argument_that_is_none_is_refused(given: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^--engine-argument: {words}"):
        arguments_of(None, given)


def test_a_simulated_engine_takes_no_arguments() -> None:
    for file, engine in ((None, "fake"), ("fake", None)):
        with pytest.raises(UserError, match=r"^--engine-argument: only vLLM takes arguments, and engine is fake"):
            arguments_of(file, "block_size=32", engine=engine)


def test_arguments_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(UserError, match=r"^engine\.arguments: "):
        arguments_of({"arguments": "quantization=fp8"}, "block_size=32")
