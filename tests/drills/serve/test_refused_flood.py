"""Twenty thousand requests that are refused: they leave little in any log, and whoever has a key does not notice."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakescan.serve.keys import edit_keys
from tests.serve_process import PAIRS, Served, serving

pytestmark = pytest.mark.cluster

TOTAL, CLIENTS = 20_000, 8
MAX_LOG_BYTES = 512 * 1024
"""What docs/serve.md says."""
PROXY = "ProxyActor"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("flooded") / "keys.json"
    with edit_keys(file, create=True) as edit:
        key = edit.add("shop", per_minute=10**6, burst=10**6, scopes=("detect", "metrics"))
    with serving("--keys", file, "--engine", "fake", key=key) as served:
        yield served


def logs(served: Served) -> Path:
    """The folder of all logs of this server's own Ray."""
    (proxy,) = served.below(PROXY)
    (folder,) = {Path(file.path).parent for file in proxy.open_files() if Path(file.path).parent.name == "logs"}
    return folder


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_a_flood_of_refusals_leaves_short_logs(server: Served) -> None:
    folder = logs(server)
    image = PAIRS[0].read_bytes()
    verdicts: list[tuple[float, int]] = []
    over = threading.Event()

    def judge() -> None:
        with server.client() as client:
            while not over.is_set():
                started = time.monotonic()
                answer = client.post("/v1/detect", content=image, headers={"content-type": "image/png"})
                verdicts.append((time.monotonic() - started, answer.status_code))
                over.wait(0.05)

    def refused(number: int) -> Counter[int]:
        kinds: list[dict[str, Any]] = [
            {"method": "POST", "url": "/v1/detect", "headers": {"x-api-key": f"fsk_00000000_{'A' * 43}"}},
            {"method": "GET", "url": "/v1/models"},
            {"method": "GET", "url": "/" + "\u2028" * 300},
            {"method": "POST", "url": "/v1/scans", "headers": {"user-agent": "x" * 5_000}},
        ]
        seen: Counter[int] = Counter()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            for turn in range(TOTAL // CLIENTS):
                seen[client.request(**kinds[(number + turn) % len(kinds)]).status_code] += 1
        return seen

    judge_thread = threading.Thread(target=judge)
    judge_thread.start()
    before = size(folder)
    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = sum(pool.map(refused, range(CLIENTS)), Counter[int]())
    seconds = time.monotonic() - started
    over.set()
    judge_thread.join()
    grown = size(folder) - before
    print(f"{dict(statuses)} in {seconds:.0f} s; logs grown by {grown >> 10} KiB, with {len(verdicts)} verdicts")
    assert statuses.keys() == {401, 429}
    assert {status for _, status in verdicts} == {200}
    assert grown - 400 * len(verdicts) < MAX_LOG_BYTES
    lines = [json.loads(line) for file in (folder / "serve").glob("access_*.jsonl") for line in file.open()]
    told = [line for line in lines if line.get("key") == "shop" and line["path"] == "/v1/detect"]
    assert len(told) == len(verdicts)
    refusals = sum(line.get("status") in (401, 429) for line in lines)
    left_out = sum(sum(line["refusals_left_out"].values()) for line in lines if "refusals_left_out" in line)
    assert refusals <= 100 + 5 * (seconds + 1)
    assert 0.5 * TOTAL < refusals + left_out <= TOTAL, "but for those of the last ten seconds"
