"""The head start: the first shards go at once, the others when one has been judged."""

import threading
import uuid
from typing import Any

import pytest

from fakescan.scan.head_start import HeadStart
from fakescan.scan.ledger import remote_ledger

pytestmark = pytest.mark.cluster


@pytest.fixture
def ledger(ray_cluster: str) -> Any:
    return remote_ledger()


def test_the_first_shards_do_not_wait(ledger: Any) -> None:
    head_start = HeadStart(uuid.uuid4().hex, 3, ledger)
    for shard in range(4):
        head_start.wait(shard)


def test_the_others_wait_for_the_gate_and_no_longer(ledger: Any) -> None:
    import ray

    head_start = HeadStart(uuid.uuid4().hex, 3, ledger)
    waiting = threading.Thread(target=head_start.wait, args=(4,))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    ray.get(ledger.open_gate.remote())
    waiting.join(30)
    assert not waiting.is_alive()
    head_start.wait(5)


def test_a_gate_that_never_opens_stops_nothing(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakescan.scan.head_start.MAX_WAIT_S", 0.2)
    HeadStart(uuid.uuid4().hex, 3, ledger).wait(4)
