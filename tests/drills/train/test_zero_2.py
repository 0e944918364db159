"""ZeRO 2 with two workers, which the tests do with one: it learns as plain torch does, and its export is whole."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakescan.train.result.test_export import test_transformers_and_vllm_say_the_same as say_the_same
from tests.fakescan.train.test_driver import test_two_workers_learn_as_one_does as learn_as_one_does

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_it_learns_as_one_worker_does_and_its_export_says_the_same(plain: Any, trained: Callable[[str], Any]) -> None:
    learn_as_one_does("zero 2", plain, trained)
    say_the_same("zero 2", trained)
