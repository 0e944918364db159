"""5,000 malformed requests against a real server: each gets its refusal or nothing, and the server stays as it was."""

import asyncio
import time
from collections import Counter

import psutil
import pytest

from tests.malformed_sending import failures, send_all
from tests.serve_process import PAIRS, Served

pytestmark = pytest.mark.cluster

WARM_UP = 1_500
TOTAL = 5_000
PROCESSES = ("ProxyActor", "ServeReplica")


def memory(served: Served) -> dict[psutil.Process, int]:
    """Bytes of the proxy and the replicas that are theirs alone: pages of Ray's object store are everybody's."""
    return {process: process.memory_full_info().uss for title in PROCESSES for process in served.below(title)}


def test_malformed_requests_neither_break_the_server_nor_stay_in_its_memory(served: Served) -> None:
    failed = failures(served)
    _, wrong = asyncio.run(send_all(served.url, range(WARM_UP)))
    before = memory(served)
    seen, more = asyncio.run(send_all(served.url, range(WARM_UP, TOTAL)))
    wrong += more
    assert not wrong, f"{len(wrong)} of {TOTAL}:\n" + "\n".join(wrong[:20])

    print({p.name(): (before.get(p, 0) >> 20, uss >> 20) for p, uss in memory(served).items()}, "MiB before and after")
    deadline = time.monotonic() + 10  # freed memory takes a moment to go back
    while any(rss > 1.1 * before.get(process, 0) for process, rss in memory(served).items()):
        assert time.monotonic() < deadline, {p.name(): (before.get(p), rss) for p, rss in memory(served).items()}
    assert memory(served).keys() == before.keys(), "a process has died"
    assert failures(served) == failed

    statuses = Counter()
    for (_, status), count in seen.items():
        statuses[status] += count
    assert {0, 200, 400, 404, 405, 413, 415, 422} <= statuses.keys(), "every way to be refused is among them"
    assert statuses[422] > statuses[200]
    real = next(path for path in PAIRS if "-real" in path.name)
    with served.client() as client:
        for path, verdict in ((PAIRS[1], "fake"), (real, "real")):
            answer = client.post("/v1/detect", files={"file": path.read_bytes()}).raise_for_status()
            assert answer.json()["results"][0]["verdict"] == verdict
