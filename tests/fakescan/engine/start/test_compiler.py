"""Engines that are compiled, where nothing can compile them."""

from pathlib import Path

import pytest

from fakescan.engine.config import VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.vllm_setup import engine_arguments
from fakevlm.builtin import BUILT_IN
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


def test_a_compiled_engine_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = open_checkpoint(str(BUILT_IN))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"engine.enforce_eager: false .* no g\+\+: install it, or leave the setting"):
        engine_arguments(VllmConfig(enforce_eager=False), built_in, JudgingOptions(), "cpu")
    assert engine_arguments(VllmConfig(), built_in, JudgingOptions(), "cpu")["enforce_eager"]

    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    made = engine_arguments(VllmConfig(enforce_eager=False), built_in, JudgingOptions(), "cpu")
    assert not made["enforce_eager"]
