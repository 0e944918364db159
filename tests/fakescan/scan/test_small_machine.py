"""Two shared cores: the first shards go at once and the others when one has been judged; priorities only go down."""

import os
import subprocess
import sys
import threading
import uuid
from typing import Any

import pytest

from fakescan.scan.ledger import remote_ledger
from fakescan.scan.small_machine import FirstShards


@pytest.fixture
def ledger(ray_cluster: str) -> Any:
    return remote_ledger()


class NoLedger:
    """Fails whoever asks it."""


@pytest.mark.unit
def test_the_first_shards_ask_nobody() -> None:
    first_shards = FirstShards(uuid.uuid4().hex, 3, NoLedger())
    for shard in range(4):
        first_shards.wait(shard)
    with pytest.raises(AttributeError):
        first_shards.wait(4)


@pytest.mark.cluster
def test_the_others_wait_for_the_first_judgement_and_no_longer(ledger: Any) -> None:
    import ray

    first_shards = FirstShards(uuid.uuid4().hex, 3, ledger)
    waiting = threading.Thread(target=first_shards.wait, args=(4,))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    ray.get(ledger.report_judged.remote())
    waiting.join(30)
    assert not waiting.is_alive()
    first_shards.wait(5)


@pytest.mark.cluster
def test_an_engine_that_never_judges_holds_nothing_back_for_ever(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakescan.scan.small_machine.MAX_WAIT_S", 0.2)
    FirstShards(uuid.uuid4().hex, 3, ledger).wait(4)


_PROGRAM = """
import os, threading
from fakescan.scan.small_machine import engine_is_loaded, feed

done = threading.Event()
other = threading.Thread(target=done.wait)
other.start()
for step in (feed, engine_is_loaded, feed):
    step()
    print(*{os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir("/proc/self/task")})
done.set()
"""


@pytest.mark.unit
def test_threads_that_run_already_yield_too_and_nothing_goes_back_up() -> None:
    environment = {**os.environ, "PYTHONPATH": "platform:."}
    command = [sys.executable, "-c", _PROGRAM]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    base = os.getpriority(os.PRIO_PROCESS, 0)
    assert [line.split() for line in ended.stdout.splitlines()] == [
        [str(max(base, niceness))] for niceness in (15, 19, 19)
    ]
