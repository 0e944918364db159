"""The load on a server, from a process of its own so that its CPU time is not the server's:

    python -m benchmarks.serve_load PLAN.json

Closed loop: a number of connections, each of which sends its next image when it has the answer to the last. Open loop:
images are sent when they are due, whether earlier ones are answered or not, on free connections or new ones; all times
are counted from when an image was due, so that a slow server does not slow its own measurement down.

Requests are built before, and of a response only the ends of headers and body are read. Prints a line when the measured
window begins, one when it ends, and then what was seen as JSON.
"""

import asyncio
import base64
import itertools
import json
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import uvloop

BEGAN, ENDED = "began", "ended"
REFUSALS = frozenset({429, 503})
CHAT_MODEL = "builtin"
"""Name of the model in requests of OpenAI's API."""
CLOSED = 0
"""In place of a status: the connection was closed, or refused, instead of an answer."""


@dataclass(frozen=True)
class Plan:
    """One load."""

    port: int
    key: str
    """Key that every request bears."""
    folder: str
    """With the images."""
    images: int
    """How many of them, in turn."""
    connections: int
    """Closed loop: requests in flight. Open loop: connections at most."""
    seconds: float
    """Length of the measured window."""
    query: str = ""
    chat_tokens: int = 0
    """Above 0: the images are sent to /v1/chat/completions, for so many tokens."""
    rate: float | None = None
    """Open loop: images due in a second, on average; they come independently of each other."""
    warm_s: float = 3.0
    """Closed loop: seconds before the window."""
    pause_s: float = 0.0
    """Closed loop: seconds from a refusal to the next image."""
    patience_s: float = 30.0
    """What is not answered so long after it was due counts as hung."""


class Seen(NamedTuple):
    """One request; times in seconds of one clock."""

    due: float
    sent: float
    ended: float
    status: int
    sound: bool
    """Whether it is a verdict, or a refusal that says when to come again."""


class Connection(asyncio.Protocol):
    """One connection, with at most one request in flight."""

    def __init__(self, done: Callable[["Connection", Seen], None], mark: bytes) -> None:
        """`mark` is in a response that has a verdict."""
        self._mark = mark
        self._loop = asyncio.get_running_loop()
        self._done = done
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._due = self._sent = 0.0
        self.busy = False

    @property
    def alive(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, due: float) -> None:
        """Send a request; `done` is called with what came of it."""
        assert self._transport is not None
        self._due, self._sent, self.busy = due, time.perf_counter(), True
        self._transport.write(request)

    def close(self) -> None:
        """Give up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not one by its class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        split = self._buffer.find(b"\r\n\r\n")
        if split < 0:
            return
        headers = bytes(self._buffer[:split]).lower()
        start, body = split + 4, len(self._buffer) - split - 4
        length = headers.find(b"content-length: ")
        if length >= 0:
            whole = body >= int(headers[length + 16 :].split(b"\r\n", 1)[0])
        else:
            whole = self._buffer.endswith(b"0\r\n\r\n", start)
        if not whole:
            return
        status = int(headers[9:12])
        sound = self._mark in self._buffer if status == 200 else b"\r\nretry-after: " in headers
        self._buffer.clear()
        if b"connection: close" in headers:
            self.close()
        self._end(status, sound)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.busy:
            self._end(CLOSED, False)

    def _end(self, status: int, sound: bool) -> None:
        self.busy = False
        self._done(self, Seen(self._due, self._sent, time.perf_counter(), status, sound))


class Load:
    """Sends what a plan says and collects what comes of it."""

    def __init__(self, plan: Plan, requests: Sequence[bytes]) -> None:
        self.plan = plan
        self.seen: list[Seen] = []
        self.opened = 0
        self.began = self.ended = self.cpu_s = 0.0
        self.hung = 0
        self._requests: Iterator[bytes] = itertools.cycle(requests)
        self._mark = b'"top_logprobs":[{' if plan.chat_tokens else b'"verdict":"'
        self._connections: set[Connection] = set()
        self._free: list[Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []
        self._over = False
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Everything, and then wait for the last answers."""
        if self.plan.rate is None:
            for _ in range(self.plan.connections):
                self._start(self._open(time.perf_counter()))
            await asyncio.sleep(self.plan.warm_s)
            self._begin()
            await asyncio.sleep(self.plan.seconds)
        else:
            self._begin()
            await self._send_when_due(self.plan.rate)
        self._end()
        deadline = time.perf_counter() + self.plan.patience_s
        while self.in_flight and time.perf_counter() < deadline:
            await asyncio.sleep(0.05)
        self.hung = self.in_flight
        if self._errors:
            raise ExceptionGroup("the load itself failed", self._errors)
        for connection in self._connections:
            connection.busy = False
            connection.close()

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""
        return len(self._tasks) + sum(connection.busy for connection in self._connections)

    def _begin(self) -> None:
        print(BEGAN, flush=True)
        self.began, self._cpu = time.perf_counter(), time.process_time()

    def _end(self) -> None:
        self.ended, self.cpu_s = time.perf_counter(), time.process_time() - self._cpu
        self._over = True
        print(ENDED, flush=True)

    async def _send_when_due(self, rate: float) -> None:
        draw = random.Random(0)
        due = self.began
        while (due := due + draw.expovariate(rate)) < self.began + self.plan.seconds:
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            while self._free and not self._free[-1].alive:
                self._connections.discard(self._free.pop())
            if self._free:
                self._free.pop().send(next(self._requests), due)
                continue
            if len(self._connections) + len(self._tasks) >= self.plan.connections:
                raise RuntimeError(f"{self.plan.connections} connections are not enough for this load")
            self._start(self._open(due))
        await asyncio.sleep(self.began + self.plan.seconds - time.perf_counter())

    def _start(self, opening: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(opening)
        self._tasks.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = task.exception()
        if isinstance(error, Exception):
            self._errors.append(error)

    async def _open(self, due: float) -> None:
        """Open a connection and send the next image on it."""
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._answered, self._mark), "127.0.0.1", self.plan.port
            )
        except OSError:
            now = time.perf_counter()
            self.seen.append(Seen(due, now, now, CLOSED, False))
            if self.plan.rate is None and not self._over:
                await asyncio.sleep(max(self.plan.pause_s, 0.1))
                self._start(self._open(time.perf_counter()))
            return
        self.opened += 1
        self._connections.add(connection)
        connection.send(next(self._requests), due)

    def _answered(self, connection: Connection, seen: Seen) -> None:
        self.seen.append(seen)
        if self.plan.rate is not None:
            self._free.append(connection)
        elif not self._over:
            self._loop.call_later(self.plan.pause_s if seen.status != 200 else 0.0, self._next, connection)

    def _next(self, connection: Connection) -> None:
        if self._over:
            return
        if connection.alive:
            connection.send(next(self._requests), time.perf_counter())
        else:
            self._connections.discard(connection)
            self._start(self._open(time.perf_counter()))


def summary(load: Load) -> dict[str, Any]:
    """The report of a load. Statuses and times are of all requests that ended after the window's beginning."""
    seconds = load.ended - load.began
    counted = [seen for seen in load.seen if seen.ended >= load.began]
    late = sum(seen.ended - seen.due > load.plan.patience_s for seen in counted)
    good = sorted(seen.ended - load.began for seen in counted if seen.status == 200 and seen.ended <= load.ended)
    refused = [seen for seen in counted if seen.status in REFUSALS]
    times = [0.0, *good, seconds]
    tail_s = seconds / 4
    return {
        "seconds": seconds,
        "requests_s": len(good) / seconds,
        "sent_s": sum(load.began <= seen.sent <= load.ended for seen in load.seen) / seconds,
        **_times("", [seen for seen in counted if seen.status == 200]),
        **_times("refused_", refused),
        "late_p99_ms": _percentile([1e3 * (seen.sent - seen.due) for seen in counted], 99),
        "statuses": {str(status): count for status, count in sorted(Counter(s.status for s in counted).items())},
        "other": sum(seen.status != 200 and seen.status not in REFUSALS for seen in counted),
        "unsound": sum(not seen.sound for seen in counted if seen.status == 200 or seen.status in REFUSALS),
        "hung": load.hung + late,
        "gap_s": max(after - before for before, after in itertools.pairwise(times)),
        "tail_requests_s": sum(at > seconds - tail_s for at in good) / tail_s,
        "connections": load.opened,
        "load_cores": load.cpu_s / seconds,
    }


def _times(name: str, seen: Sequence[Seen]) -> dict[str, float | None]:
    taken = [1e3 * (one.ended - one.due) for one in seen]
    return {
        f"{name}p50_ms": statistics.median(taken) if taken else None,
        f"{name}p99_ms": _percentile(taken, 99),
        f"{name}max_ms": max(taken, default=None),
    }


def _percentile(values: Sequence[float], share: int) -> float | None:
    """The smallest value that so many in a hundred do not exceed."""
    return sorted(values)[math.ceil(len(values) * share / 100) - 1] if values else None


def build_requests(plan: Plan) -> list[bytes]:
    """One POST for each image, as bytes."""
    files = sorted(path for path in Path(plan.folder).iterdir() if path.suffix != ".json")[: plan.images]
    if plan.chat_tokens:
        bodies = [chat_body(file.read_bytes(), file.suffix[1:], plan.chat_tokens) for file in files]
        return [_request(plan, "/v1/chat/completions", "application/json", body) for body in bodies]
    return [_request(plan, f"/v1/detect?{plan.query}", "application/octet-stream", file.read_bytes()) for file in files]


def _request(plan: Plan, path: str, media_type: str, body: bytes) -> bytes:
    headers = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nX-Api-Key: {plan.key}\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return headers.encode() + body


def chat_body(image: bytes, kind: str, tokens: int) -> bytes:
    """A request of OpenAI's API about one image: so many tokens, and the probabilities of the likeliest."""
    url = f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
    request = {
        "model": CHAT_MODEL,
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        "max_tokens": tokens,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
    }
    return json.dumps(request).encode()


async def run(plan: Plan) -> dict[str, Any]:
    """Build the requests, load the server, summarise."""
    load = Load(plan, build_requests(plan))
    await load.run()
    return summary(load)


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(Plan(**json.loads(sys.argv[1]))))), flush=True)
