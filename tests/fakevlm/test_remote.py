"""The limit of time for calls that have none of their own."""

import threading
import time

import pytest

from fakevlm.remote import NoAnswerError, reason, within

pytestmark = pytest.mark.unit


def test_a_call_in_time_gives_its_result_or_its_error() -> None:
    assert within(10, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 // 0)


def test_a_time_out_of_the_call_itself_is_handed_on() -> None:
    def late() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own") as caught:
        within(10, late)
    assert not isinstance(caught.value, NoAnswerError)


def test_a_call_that_does_not_end_is_left() -> None:
    never = threading.Event()
    started = time.monotonic()
    with pytest.raises(NoAnswerError, match="no answer within 1 s"):
        within(1, never.wait)
    assert time.monotonic() - started < 5
    never.set()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError(), "timed out"),
        (NoAnswerError("no answer within 20 s"), "no answer within 20 s"),
        (ValueError("two\nlines"), "two lines"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_reason_is_one_line(error: Exception, words: str) -> None:
    assert reason(error) == words


def test_the_reason_is_no_web_page() -> None:
    assert len(reason(ValueError("<html>" * 1000))) < 400
