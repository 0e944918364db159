"""The runs with known truth, for what is done with them."""

from tests.fakescan.review.conftest import known, untouched

__all__ = ["known", "untouched"]
