"""The shared runs of the trainer's tests."""

from tests.fakescan.train.conftest import plain, trained

__all__ = ["plain", "trained"]
