"""Requests whose replica is lost: sent once more, and no more than once."""

import pytest

from fakescan.serve.gate.resend import may_be_resent
from tests.gated import Act, Gated, StubControl, from_replica, serves_own

pytestmark = pytest.mark.unit


def in_turn(*acts: Act) -> Act:
    """A different one each time."""
    left = list(acts)
    return lambda receive, send: left.pop(0)(receive, send)


@pytest.fixture
def gated() -> Gated:
    return Gated(StubControl())


@pytest.mark.parametrize("path", ["/v1/detect?stream=true", "/v1/chat/completions"])
def test_a_request_whose_replica_is_lost_goes_to_another(gated: Gated, path: str) -> None:
    gated.inner.act = in_turn(serves_own(500), from_replica(body=b"verdict"))
    answer = gated.ask(path, content=b"image")
    assert (answer.status, answer.body) == (200, b"verdict")
    assert gated.inner.bodies == [b"image", b"image"]
    assert gated.inner.headers[0] == gated.inner.headers[1]
    gated.close()


def test_it_is_sent_twice_at_most(gated: Gated) -> None:
    gated.inner.act = serves_own(500)
    assert gated.ask(content=b"deadly").code == "unavailable"
    assert len(gated.inner.bodies) == 2
    gated.close()


def test_what_a_replica_says_itself_is_an_answer(gated: Gated) -> None:
    gated.inner.act = from_replica(500, b"its own")
    assert gated.ask(content=b"x").body == b"its own"
    assert len(gated.inner.bodies) == 1
    gated.close()


def test_a_scan_is_started_once(gated: Gated) -> None:
    gated.inner.act = serves_own(500)
    assert gated.ask("/v1/scans", json={"source": "s3://b"}).code == "unavailable"
    assert len(gated.inner.bodies) == 1
    assert may_be_resent("GET", "/v1/scans")
    assert not may_be_resent("POST", "/v1/scans/scan-1/stop")
    gated.close()


def test_a_full_queue_is_no_loss(gated: Gated) -> None:
    gated.inner.act = serves_own(503)
    assert gated.ask(content=b"x").code == "overloaded"
    assert len(gated.inner.bodies) == 1
    gated.close()
