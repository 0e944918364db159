"""Malformed requests against a real server: each gets its refusal or nothing. The drill of that name sends 5,000."""

import asyncio

import pytest

from tests.malformed_sending import failures, send_all
from tests.serve_process import Served

pytestmark = pytest.mark.cluster

TOTAL = 500


def test_malformed_requests_get_their_refusal(served: Served) -> None:
    failed = failures(served)
    seen, wrong = asyncio.run(send_all(served.url, range(TOTAL)))
    assert not wrong, f"{len(wrong)} of {TOTAL}:\n" + "\n".join(wrong[:20])
    assert {0, 200, 400, 404, 405, 413, 415, 422} <= {status for _, status in seen}, "every way to be refused"
    assert failures(served) == failed
