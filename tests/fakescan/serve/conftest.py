"""Servers that several modules share."""

from collections.abc import Iterator

import pytest

from tests.serve_process import Served, serving


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """A real server: Serve, vLLM, the built-in checkpoint; it asks for no key."""
    with serving("--no-auth") as server:
        yield server
