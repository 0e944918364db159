"""More than a thousand odd files, in a process of their own: no crash, and the pixels of the reference decoder."""

import json
import subprocess
import sys

import pytest

from tests.odd_images import EXCEPTIONS

pytestmark = pytest.mark.unit


def test_odd_images_are_read_like_the_reference_or_refused() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.odd_images"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"a decoder ended the process: {done.returncode}\n{done.stderr[-2000:]}"
    result = json.loads(done.stdout)
    assert result["faults"] == {}
    assert sum(result["outcomes"].values()) >= 2_000
    assert result["outcomes"]["read"] >= 1_500
    assert set(result["outcomes"]) == {"read", "truncated", "unsupported_format"}
    assert set(result["kinds"]) == set(EXCEPTIONS), "each exception has its files"
