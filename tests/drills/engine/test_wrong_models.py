"""More models that an engine refuses, each of which takes an engine's start."""

from pathlib import Path

import pytest

from tests.fakescan.engine.test_vllm_inprocess import assert_blamed_on_weights, assert_prompt_refused

pytestmark = pytest.mark.engine


def test_another_answer_prefix_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    assert_prompt_refused({"answer_prefix": "The image is"}, "'The image is'", tiny_model, tmp_path)


@pytest.mark.parametrize("name", ["vision_tower", "embed_tokens"])
def test_nan_is_blamed_on_the_weights_wherever_it_is(name: str, tiny_model: Path, tmp_path: Path) -> None:
    assert_blamed_on_weights(name, tiny_model, tmp_path)
