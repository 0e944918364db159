"""What requests that come to nothing cost the client that sends them."""

import pytest

from fakescan.serve.config import Limits
from fakescan.serve.gate.bounds.refusals import BYTES_EACH, Ended, Refusals
from fakescan.serve.outcome_header import VERDICTS
from fakevlm.verdict import Verdict

pytestmark = pytest.mark.unit

ME, OTHER = ("key", "10.0.0.1"), ("key", "10.0.0.2")
LIMITS = Limits(refused_per_minute=600)


def ended(code: str = "", **values: int | bool) -> Ended:
    usual = {"num_bytes": 0, "images": 1, "verdicts": 0, "failed": 0, "has_passed": True, "has_left": False}
    return Ended(code=code, **{**usual, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "cost"),
    [
        (ended("invalid"), 1),
        (ended("not_an_image", failed=1, num_bytes=4 * BYTES_EACH), 5),
        (ended("too_large", has_passed=False, images=0, num_bytes=BYTES_EACH), 2),
        (ended("too_many_pixels", images=16), 16),
        (ended("upload_timeout", has_passed=False), 1),
        (ended("rate_limited"), 1),
        (ended("rate_limited", has_passed=False), 0),
        (ended("overloaded", has_passed=False, num_bytes=3 * BYTES_EACH), 3),
        (ended("overloaded", num_bytes=3 * BYTES_EACH), 0),
        (ended("timeout"), 0),
        (ended("internal"), 0),
        (ended("unavailable"), 0),
        (ended("disconnected", has_left=True), 1),
        (ended("disconnected"), 0),
        (ended(verdicts=1), -1),
        (ended(images=16, verdicts=8, failed=8, num_bytes=4 * BYTES_EACH), 2),
        (ended(images=16, failed=16, num_bytes=4 * BYTES_EACH), 20),
        (ended(images=0), 0),
    ],
)
def test_a_request_costs_what_its_client_has_made_of_it(request_: Ended, cost: float) -> None:
    assert request_.cost == cost


def test_a_client_owes_for_itself_and_no_more_than_a_minute() -> None:
    now = 0.0
    refusals = Refusals(clock=lambda: now)
    for _ in range(59):
        refusals.ended(ME, ended("invalid"), LIMITS)
    assert refusals.wait(ME, LIMITS) == 0
    refusals.ended(ME, ended("invalid", num_bytes=10 * BYTES_EACH), LIMITS)
    assert refusals.wait(ME, LIMITS) == pytest.approx(1.1)
    assert refusals.wait(OTHER, LIMITS) == 0, "the same key from elsewhere"
    now += 1.2
    assert refusals.wait(ME, LIMITS) == 0
    for _ in range(1000):
        refusals.ended(ME, ended("invalid", num_bytes=30 * BYTES_EACH), LIMITS)
    assert refusals.wait(ME, LIMITS) == pytest.approx(60.1)


def test_who_gets_verdicts_may_send_as_much_that_is_broken() -> None:
    now = 0.0
    refusals = Refusals(clock=lambda: now)
    for _ in range(1000):
        refusals.ended(ME, ended("not_an_image", failed=1), LIMITS)
        refusals.ended(ME, ended(verdicts=1), LIMITS)
    assert refusals.wait(ME, LIMITS) == 0
    for _ in range(59):
        refusals.ended(ME, ended("not_an_image", failed=1), LIMITS)
    assert refusals.wait(ME, LIMITS) == 0, "nobody saves up"
    for _ in range(2):
        refusals.ended(ME, ended("not_an_image", failed=1), LIMITS)
    assert refusals.wait(ME, LIMITS) > 0


def test_the_outcomes_that_are_no_errors_are_the_verdicts() -> None:
    assert set(Verdict) == VERDICTS
