"""LoRA with DeepSpeed, through Ray: what it writes is what transformers, vLLM and PEFT make of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakescan.train.result.test_export import assert_adapter_gives_merged_model, assert_they_say_the_same

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_its_export_says_the_same_and_its_adapter_is_in_it(trained: Callable[[str], Any], tiny_model: Path) -> None:
    done = trained("lora")
    assert_they_say_the_same(done.model)
    assert_adapter_gives_merged_model(Path(done.url), tiny_model)
