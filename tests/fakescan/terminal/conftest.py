"""What all tests of the terminal need."""

import pytest


@pytest.fixture(autouse=True)
def _any_machine(plain_terminal: None) -> None:
    """What the machine that runs the tests says about its own terminal does not count."""
