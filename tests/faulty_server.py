"""A server that is made to lose its processes, and clients that go on asking it."""

import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from fakescan.serve.keys import edit_keys
from tests.scan_process import running
from tests.serve_process import PAIRS, Served, free_port

CLIENTS, FEW = 12, 4
"""Clients at once, fewer than one key may have requests; few where a new engine needs the machine to start."""
WORKING, QUEUED = 8, 16
PLACES = WORKING + QUEUED
"""Requests that the server below lets in at once."""
EXPLANATION_S = 1.5
"""Seconds that one explanation takes, four at a time."""
SETTINGS: dict[str, Any] = {
    "threshold": 0.5,
    "engine": {"kind": "fake", "step_s": 0.05, "tokens": 30, "max_num_seqs": 4},
    "limits": {
        "max_ongoing_requests": WORKING,
        "max_queued_requests": QUEUED,
        "per_minute": 10**6,
        "burst": 10**6,
    },
}
ONGOING = "fakescan_serve_ongoing_requests"
PROXY, REPLICA, CONTROL = "ProxyActor", "ServeReplica:fakevlm:Detector", "ServeReplica:fakevlm:Control"
CONTROLLER = "ServeController"


@dataclass
class Faulty(Served):
    """A server, its Serve file and what else of it lies on disk."""

    folder: Path = Path()
    spare_key: str = ""

    def roll_out(self, said: str, **settings: Any) -> None:
        """Change the settings, have the server read them, and wait for what it says of it."""
        before = self.process.err.count(said)
        write_settings(self.folder, **settings)
        self.process.signal(signal.SIGHUP)
        self.process.wait_for(said, lambda: self.process.err.count(said) > before, 150)

    def pids(self, title: str) -> set[int]:
        return {process.pid for process in self.below(title)}

    def lose(self, title: str) -> None:
        """`kill -9` of the one process of this title, and wait until another one is there."""
        old = self.process.kill_worker(title)
        self.process.wait_for(f"another {title}", lambda: bool(self.pids(title) - {old}))

    def metric(self, name: str) -> float:
        with self.client() as client:
            rows = client.get("/metrics").raise_for_status().text.splitlines()
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows if row.startswith(name))


def write_settings(folder: Path, **settings: Any) -> Path:
    """Write the Serve file."""
    args = {**SETTINGS, "keys": str(folder / "keys.json"), **settings}
    application = {"name": "fakevlm", "import_path": "fakescan.serve.app:build", "args": args}
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump({"applications": [application]}))
    return file


@contextmanager
def faulty_server(folder: Path, **settings: Any) -> Iterator[Faulty]:
    """A server with two keys and a temporary folder of its own, and a simulated engine unless `settings` has another.

    All its files are in `folder`.
    """
    (folder / "tmp").mkdir()
    with edit_keys(folder / "keys.json", create=True) as edit:
        key, spare = edit.add("tester", scopes=("detect", "metrics")), edit.add("spare")
    port = free_port()
    arguments = ("serve", "--config", write_settings(folder, **settings), "--port", port)
    # Ray's own files stay where they are: the path of a socket must be short.
    environment = {"TMPDIR": str(folder / "tmp"), "RAY_TMPDIR": tempfile.gettempdir()}
    with running(*arguments, environment=environment) as process:
        process.wait_for("the server answers", lambda: "serving" in process.out, 240)
        yield Faulty(process, f"http://127.0.0.1:{port}", key, folder, spare)
        if not process.has_ended:
            process.press_ctrl_c()
            assert process.end(60) == 0, process.err


@dataclass
class Answer:
    """What one client got, and when."""

    sent_at: float
    seconds: float
    status: int
    """0 where the connection broke."""
    body: dict[str, Any] = field(default_factory=dict)
    image: Path = PAIRS[0]


def ask(client: httpx.Client, path: Path, explain: str = "none") -> Answer:
    """One request; checks that its answer is a verdict, or a refusal that says when to come again."""
    started = time.monotonic()
    try:
        answer = client.post("/v1/detect", params={"explain": explain}, files={"file": path.read_bytes()})
    except httpx.TransportError:
        return Answer(started, time.monotonic() - started, 0, image=path)
    body = answer.json()
    assert body["request_id"] == answer.headers["x-request-id"]
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert body["status"] == answer.status_code
        assert answer.status_code != 503 or int(answer.headers["retry-after"]) >= 1
    return Answer(started, time.monotonic() - started, answer.status_code, body, path)


class Load:
    """Clients that ask again as soon as they have an answer; after a refusal or a broken connection a little later."""

    def __init__(self, served: Served, clients: int = CLIENTS) -> None:
        self.answers: list[Answer] = []
        self._served = served
        self._clients = clients
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(clients)

    def __enter__(self) -> "Load":
        self._futures = [self._pool.submit(self._run, number) for number in range(self._clients)]
        try:
            self.wait_for(2 * self._clients)
        except BaseException:
            self._stop.set()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for future in self._futures:
            future.result()

    def _run(self, number: int) -> None:
        with self._served.client() as client:
            while not self._stop.is_set():
                answer = ask(client, PAIRS[number % len(PAIRS)])
                self.answers.append(answer)
                if answer.status != 200:
                    self._stop.wait(0.1)

    def wait_for(self, count: int, good: Callable[[Answer], bool] = lambda answer: answer.status == 200) -> None:
        """Wait for so many good answers to requests that are sent from now on."""
        since = time.monotonic()

        def there() -> bool:
            for future in self._futures:
                if future.done():
                    future.result()
            return sum(answer.sent_at >= since and good(answer) for answer in list(self.answers)) >= count

        self._served.process.wait_for(f"{count} answers", there, 60)

    @property
    def outcomes(self) -> Counter[str]:
        """How often there was a verdict (`ok`), which refusal, or a `broken` connection."""
        names = {0: "broken", 200: "ok"}
        return Counter(names.get(answer.status) or str(answer.body["code"]) for answer in self.answers)

    @property
    def refusals(self) -> set[str]:
        """What clients were told in place of a verdict."""
        return {str(answer.body["detail"]) for answer in self.answers if answer.status not in (0, 200)}

    def assert_all_scores_agree(self) -> None:
        """The simulated engine says the same of the same image, whoever runs it."""
        scores: dict[Path, set[float]] = {}
        for answer in self.answers:
            if answer.status == 200:
                (result,) = answer.body["results"]
                scores.setdefault(answer.image, set()).add(result["score"])
        assert len(scores) == min(self._clients, len(PAIRS))
        assert all(len(found) == 1 for found in scores.values()), scores
