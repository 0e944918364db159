"""What `fakescan serve` makes of Serve's messages."""

import pytest

from fakescan.serve.run import cause_of

pytestmark = pytest.mark.unit

TRACE = 'Traceback (most recent call last):\n  File "/app/vllm_setup.py", line 92, in engine_arguments\n'


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (f"{TRACE}fakevlm.errors.UserError: engine.dtype: no such type", "engine.dtype: no such type"),
        (f"{TRACE}RuntimeError: out of memory\n\nThe above exception was\n", "RuntimeError: out of memory"),
        ("the actor died\n", "the actor died"),
        ("", "no reason given"),
    ],
)
def test_the_cause_is_one_line(message: str, cause: str) -> None:
    assert cause_of(message) == cause
