"""The runs with known truth, for the commands that read them."""

from tests.fakescan.review.conftest import known, untouched

__all__ = ["known", "untouched"]
