"""Values of repeatable options: words that mean something, and text that stays text."""

from typing import Any

import pytest

from fakescan.cli.options.flags import store_from_flags

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("requester_pays=false", False), ("requester_pays=False", False), ("requester_pays=TRUE", True),
        ("default_cache_type=none", None), ("token=null", None), ("key=falsehood", "falsehood"), ("key=0", "0"),
        ("secret=a=b", "a=b"), ("key=", ""),
    ],
)  # fmt: skip
def test_words_mean_what_they_say(option: str, value: Any) -> None:
    ((_, secret),) = store_from_flags("input", {"input_option": (option,)}).options.items()
    assert secret.get_secret_value() == value
