"""Cheap ways to stop a server, while eight ordinary clients work: they wait at most three times as long as before.

An attack takes half a minute, all of them a quarter of an hour; some at a time with `-k "slow_bodies or page_flood"`.
"""

import json
import math
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx
import psutil
import pytest

from fakescan.serve.config import ServeConfig
from fakescan.serve.keys import edit_keys
from tests.attacks import ATTACKS
from tests.serve_process import PAIRS, Served, serving

pytestmark = pytest.mark.cluster

CLIENTS = 8
WINDOW_S = 12.0
MIN_VERDICTS = 20
"""Of a window; with fewer a percentile says nothing."""
BEGIN_S = 2.0
"""Until an attack has built its requests, and is on."""
SLOWER = 3.0
PROXY, REPLICA = "ProxyActor", "ServeReplica:fakevlm:Detector"
LIMITS = ServeConfig(no_auth=True).limits
GROWTH = {PROXY: 2 * LIMITS.max_buffered_bytes + 2**27, REPLICA: 2 * LIMITS.max_buffered_bytes + 2 * 2**30}
"""Bytes by which a process and its children may grow, as docs/serve.md says."""
FINE = {"200", "400", "401", "403", "404", "408", "413", "415", "422", "429", "431", "503", "closed"}


class Keys(NamedTuple):
    """An attacker's keys: one with the usual limits, and one whose limits are never reached."""

    limited: str
    unlimited: str


@dataclass
class Clients:
    """Ordinary clients: each asks again when it has its answer, or a little after a refusal."""

    served: Served
    answers: list[tuple[float, float, int, bool]] = field(default_factory=list)
    """When it was sent, the seconds it took, its status, whether it is a verdict or a refusal with Retry-After."""

    def __enter__(self) -> "Clients":
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._futures = [self._pool.submit(self._run, number) for number in range(CLIENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for future in self._futures:
            future.result()

    def _run(self, number: int) -> None:
        with self.served.client() as client:
            for turn in range(10**9):
                if self._stop.is_set():
                    return
                data = PAIRS[(number + turn) % len(PAIRS)].read_bytes()
                sent = time.monotonic()
                try:
                    answer = client.post("/v1/detect", content=data, headers={"content-type": "image/png"})
                except httpx.TransportError:
                    self.answers.append((sent, time.monotonic() - sent, 0, False))
                    continue
                good = answer.status_code == 200 or (answer.status_code == 503 and "retry-after" in answer.headers)
                self.answers.append((sent, time.monotonic() - sent, answer.status_code, good))
                if answer.status_code != 200:
                    self._stop.wait(0.2)

    def p99_ms(self, begin: float, end: float) -> float:
        """Of the verdicts that were asked for in a time."""
        taken = sorted(seconds for sent, seconds, status, _ in self.answers if begin <= sent < end and status == 200)
        assert len(taken) >= MIN_VERDICTS, f"only {len(taken)} verdicts"
        return 1e3 * taken[math.ceil(0.99 * len(taken)) - 1]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Keys]]:
    """A server with the built-in checkpoint, and keys of an attacker."""
    file = tmp_path_factory.mktemp("attacked") / "keys.json"
    with edit_keys(file, create=True) as edit:
        ordinary = edit.add("ordinary", per_minute=10**6, burst=10**6)
        keys = Keys(edit.add("limited"), edit.add("unlimited", per_minute=10**6, burst=10**6))
    with serving("--keys", file, key=ordinary) as server:
        yield server, keys


def grown(served: Served, title: str) -> int:
    """Bytes of a process and its children that are theirs alone."""
    total = 0
    for process in served.below(title):
        for one in (process, *process.children(recursive=True)):
            try:
                total += one.memory_full_info().uss
            except psutil.NoSuchProcess:
                continue
    return total


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_slows_ordinary_clients_down_by_a_factor_at_most(served: tuple[Served, Keys], name: str) -> None:
    server, keys = served
    attacker = keys.limited if ATTACKS[name].is_limited else keys.unlimited
    port = server.url.rpartition(":")[2]
    before = {title: grown(server, title) for title in GROWTH}
    pids = {title: {process.pid for process in server.below(title)} for title in GROWTH}
    peak = dict(before)
    with Clients(server) as clients:
        time.sleep(BEGIN_S)
        quiet = time.monotonic()
        time.sleep(WINDOW_S)
        command = [sys.executable, "-m", "tests.attacks", name, port, attacker, str(BEGIN_S + WINDOW_S)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attack:
            time.sleep(BEGIN_S)
            attacked = time.monotonic()
            while (now := time.monotonic()) < attacked + WINDOW_S:
                for title in GROWTH:
                    peak[title] = max(peak[title], grown(server, title))
                time.sleep(0.3)
            found, _ = attack.communicate(timeout=60)
        slow = clients.p99_ms(attacked, now)
        usual = clients.p99_ms(quiet, quiet + WINDOW_S)
    statuses = Counter(status for sent, _, status, _ in clients.answers if sent >= attacked)
    growth = {title: peak[title] - before[title] for title in GROWTH}
    answers: dict[str, int] = json.loads(found)
    print(
        f"{name}: p99 {usual:.0f} ms, attacked {slow:.0f} ms ({slow / usual:.1f} times); ordinary {dict(statuses)}; "
        f"attacker {answers}; grown { ({title: size >> 20 for title, size in growth.items()}) } MiB"
    )
    assert slow <= SLOWER * usual
    assert all(good for _, _, _, good in clients.answers)
    assert statuses[200] > 0.3 * sum(statuses.values())
    assert answers.keys() <= FINE
    assert {title: size for title, size in growth.items() if size > GROWTH[title]} == {}
    assert {title: {process.pid for process in server.below(title)} for title in GROWTH} == pids, "one has died"
