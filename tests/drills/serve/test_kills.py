"""Every process of a server with real engines is killed under load: the others go on, and no request is lost."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faulty_server import CONTROL, CONTROLLER, PROXY, REPLICA, Faulty, Load, faulty_server
from tests.serve_process import PAIRS

pytestmark = pytest.mark.cluster

CLIENTS = 8
REPLICAS = 2
WATCHED_S = 20.0
"""Seconds in which a new controller has met all replicas and checked their health more than once."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    with faulty_server(tmp_path_factory.mktemp("real"), engine={"kind": "vllm"}, replicas=REPLICAS) as server:
        yield server


def logs(real: Faulty) -> list[Path]:
    """The logs of all replicas that there have been."""
    (line,) = [line for line in real.process.lines["err"] if line.startswith("logs: ")]
    return sorted(Path(line.removeprefix("logs: ").strip()).glob("replica_*Detector*.log"))


def wait_for_all(real: Faulty) -> None:
    """Until as many replicas as before have their engine: one that is still starting cannot take over from another."""
    real.process.wait_for("as many replicas as before", lambda: len(real.pids(REPLICA)) == REPLICAS)
    ready = "Finished initializing replica"
    real.process.wait_for("their engines", lambda: all(ready in log.read_text() for log in logs(real)), 120)


def watch(real: Faulty, replicas: set[int]) -> None:
    """Asserts for a while that no replica comes or goes."""
    until = time.monotonic() + WATCHED_S
    while time.monotonic() < until:
        assert real.pids(REPLICA) == replicas
        time.sleep(0.2)


@pytest.mark.parametrize("title", [CONTROLLER, CONTROL])
def test_who_only_manages_is_missed_by_nobody(real: Faulty, title: str) -> None:
    replicas = real.pids(REPLICA)
    assert len(replicas) == REPLICAS
    with Load(real, CLIENTS) as load:
        real.lose(title)
        watch(real, replicas)
        load.wait_for(50)
    assert load.outcomes.keys() == {"ok"}, load.refusals


def test_a_lost_replica_loses_no_request(real: Faulty) -> None:
    replicas = real.pids(REPLICA)
    with Load(real, CLIENTS) as load:
        real.lose(REPLICA)
        wait_for_all(real)
        load.wait_for(50)
    assert load.outcomes.keys() == {"ok"}, load.refusals
    assert len(real.pids(REPLICA) & replicas) == REPLICAS - 1, "the other one has gone on"


def test_streams_that_have_not_begun_outlive_a_replica(real: Faulty) -> None:
    """Those that have begun say how they ended."""
    wait_for_all(real)
    with real.client() as client, ThreadPoolExecutor(CLIENTS) as pool:

        def stream(number: int) -> str:
            path = PAIRS[number % len(PAIRS)]
            with client.stream(
                "POST", "/v1/detect", params={"stream": "true", "explain": "all"}, files={"file": path.read_bytes()}
            ) as answer:
                assert answer.status_code == 200
                return answer.read().decode()

        running = [pool.submit(stream, number) for number in range(4 * CLIENTS)]
        real.process.wait_for("some streams", lambda: any(future.done() for future in running))
        real.lose(REPLICA)
        ends = [future.result().rstrip().rpartition("event: ")[2].splitlines() for future in running]
    assert {end[0] for end in ends} <= {"done", "error"}
    assert {json.loads(end[1].removeprefix("data: "))["code"] for end in ends if end[0] == "error"} <= {"unavailable"}
    assert sum(end[0] == "done" for end in ends) >= 2 * CLIENTS


def test_a_lost_proxy_costs_its_connections_and_no_replica(real: Faulty) -> None:
    wait_for_all(real)
    replicas = real.pids(REPLICA)
    with Load(real, CLIENTS) as load:
        real.lose(PROXY)
        watch(real, replicas)
        load.wait_for(50)
    assert load.outcomes.keys() <= {"ok", "broken", "starting"}, load.refusals


def test_the_replicas_logs_tell_of_their_start_to_the_last(real: Faulty) -> None:
    assert len(logs(real)) >= REPLICAS
    for log in logs(real):
        assert "testing the engine" in log.read_text(), "after the import of vLLM"
