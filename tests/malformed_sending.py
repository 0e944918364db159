"""Malformed requests on their way to a server: each must get its refusal, or nothing where none is owed."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from tests.malformed_requests import Malformed, malformed
from tests.serve_process import Served

AT_ONCE = 16
_PATIENCE_S = 30.0
"""Seconds for an answer that is owed."""
_SHORT_PATIENCE_S = 0.3
"""Seconds for one that may not come; then the client leaves."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


async def exchange(url: str, request: Malformed) -> bytes:
    """Send a request on a connection of its own; all that comes back until the server closes it."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    answer = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE_S if request.answered else _SHORT_PATIENCE_S):
            writer.write(request.raw)
            while piece := await reader.read(65_536):
                answer += piece
    except TimeoutError:
        assert not request.answered, "no answer"
    except ConnectionError:
        assert not request.answered, "the connection broke"
    finally:
        writer.close()
    return bytes(answer)


def check(request: Malformed, answer: bytes) -> int:
    """Whether an answer is one that a client can read; its status, 0 for none."""
    if not answer:
        assert not request.answered, "no answer"
        return 0
    top, _, body = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    status = int(first.split(" ")[1])
    assert status in request.statuses, answer[:1_000]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if status in (400, 431):  # the parser's own answers, to what it does not take for a request
        assert body in (b"Invalid HTTP request received.", b"")
        return status
    assert _REQUEST_ID.fullmatch(headers["x-request-id"])
    assert not [name for name in headers if name.startswith("x-fakescan")]
    assert len(body) in (0, int(headers.get("content-length", len(body)))), "one answer and nothing behind it"
    if status >= 400:
        assert headers["content-type"] == "application/problem+json"
        if body:  # a HEAD has none
            problem = json.loads(body)
            assert problem["status"] == status
            assert problem["request_id"] == headers["x-request-id"]
            assert len(problem["detail"]) < 1_000, "no echo of what was sent"
    return status


async def send_all(url: str, numbers: Iterable[int]) -> tuple[Counter[tuple[str, int]], list[str]]:
    """Send these requests, a few at once: how often which kind got which status, and what was wrong."""
    left: Iterator[int] = iter(numbers)
    seen: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []

    async def client() -> None:
        for number in left:
            request = malformed(number)
            try:
                seen[request.kind, check(request, await exchange(url, request))] += 1
            except (AssertionError, LookupError, ValueError) as error:
                wrong.append(f"{number} ({request.kind}): {type(error).__name__}: {error}"[:1_500])

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())
    return seen, wrong


def failures(served: Served) -> float:
    """Answers so far that tell of an error of the server."""
    rows = [
        row
        for row in served.client().get("/metrics").text.splitlines()
        if re.match(r'fakescan_\w+_total{.*"(5\d\d|internal)"', row)
    ]
    return sum(float(row.rsplit(" ", 1)[1]) for row in rows)
