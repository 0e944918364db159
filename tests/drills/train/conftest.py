"""The shared runs of the trainer's tests; and trainings that a failing test would leave behind are ended."""

from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from tests.fakescan.train.conftest import plain, trained
from tests.training import STARTED

__all__ = ["plain", "trained"]


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No training is left behind by a test that fails."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                with suppress(psutil.Error):
                    child.kill()
            process.wait()
