"""Cheap ways to stop a server, each as a client that goes on until it is told to stop:

    python -m tests.attacks NAME PORT KEY SECONDS

Requests are built before, and of a response only the status and Retry-After are read, so that the attack takes little
of the processor that the server needs. Prints what the answers were, as JSON.
"""

import asyncio
import contextlib
import io
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests.hostile_files import HOSTILE_FILES
from tests.image_bytes import many_scans

SAMPLES = sorted((Path(__file__).parent.parent / "samples" / "pairs").iterdir())
_NICE = 10
"""The machine is the server's: what the attack itself computes is not what is measured."""
_BOUNDARY = "4d2f9c6b1e"
_SILENT, _NO_RETRY = "closed", "503 without Retry-After"


@dataclass(frozen=True)
class Attack:
    """Requests over and over, on so many connections at once."""

    requests: Callable[[str], Iterator[bytes]]
    """Of a key; each on a connection of its own."""
    connections: int
    bytes_s: float | None = None
    """Bytes a second that each connection sends; None for all at once."""
    listens: bool = True
    """Whether it stops sending when it is answered; otherwise it sends all of its body whatever comes."""
    is_limited: bool = False
    """Whether the attacker's key has the usual limits, which then are a part of what protects the others; otherwise it
    has none that are ever reached."""


def post(path: str, key: str, media_type: str, body: bytes, length: int | None = None) -> bytes:
    """A request as bytes."""
    header = f"X-Api-Key: {key}\r\n" if key else ""
    start = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}Content-Type: {media_type}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return start.encode() + body


def form(key: str, images: list[bytes], query: str = "") -> bytes:
    """Images in one request."""
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{number}"\r\n\r\n'.encode()
        + image
        + b"\r\n"
        for number, image in enumerate(images)
    ]
    body = b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
    return post(f"/v1/detect{query}", key, f"multipart/form-data; boundary={_BOUNDARY}", body)


def bomb(width: int, height: int, shade: int = 90) -> bytes:
    """A large picture of one colour, in two kilobytes or so."""
    sink = io.BytesIO()
    Image.new("RGB", (width, height), (shade, 120, 30)).save(sink, "WEBP", lossless=True, method=0)
    return sink.getvalue()


def bombs_of_sixteen(key: str) -> Iterator[bytes]:
    """784 megapixels in 30 KB."""
    return itertools.repeat(form(key, [bomb(7000, 7000)] * 16))


def bombs_as_allowed(key: str) -> Iterator[bytes]:
    """As many pixels as a request may have."""
    return itertools.repeat(form(key, [bomb(7000, 7000)] * 4))


def bombs_below_large(key: str) -> Iterator[bytes]:
    """Pictures just small enough not to be large."""
    return itertools.repeat(form(key, [bomb(1024, 1024)] * 16))


def bombs_of_four_megapixels(key: str) -> Iterator[bytes]:
    """Large pictures, of which all that the limits allow come at once."""
    return itertools.repeat(form(key, [bomb(2048, 2048)] * 16))


def stripes(key: str) -> Iterator[bytes]:
    """Long pictures, which grow when they are resized for the model."""
    sink = io.BytesIO()
    Image.new("L", (68, 10_000), 77).save(sink, "PNG")
    return itertools.repeat(form(key, [sink.getvalue()] * 8))


def scans(key: str) -> Iterator[bytes]:
    """A JPEG that goes through its pixels a hundred times."""
    return itertools.repeat(form(key, [many_scans(5000, 4800, 99)]))


def cut_photographs(key: str) -> Iterator[bytes]:
    """Photographs whose end is missing, so that they are decoded six times."""
    sink = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((6000, 4500)).save(sink, "JPEG", quality=60)
    data = sink.getvalue()
    return itertools.repeat(form(key, [data[: len(data) * 99 // 100]] * 4))


def many_images(key: str) -> Iterator[bytes]:
    """Small photographs, sixteen in a request, each with its explanation, as a stream."""
    images = [path.read_bytes() for path in SAMPLES]
    return itertools.repeat(form(key, (images * 16)[:16], "?explain=all&stream=true"))


def many_parts(key: str) -> Iterator[bytes]:
    """A chat message of a hundred thousand parts."""
    return itertools.repeat(_chat(key, [{"type": "text", "text": "x"}] * 100_000))


def large_json(key: str) -> Iterator[bytes]:
    """A chat message of 63 MB of parts."""
    part = b'{"type":"text","text":"x"},'
    start = b'{"model":"builtin-small","messages":[{"role":"user","content":['
    body = start + part * (63_000_000 // len(part)) + b'{"type":"text","text":"x"}]}]}'
    return itertools.repeat(post("/v1/chat/completions", key, "application/json", body))


def deep_json(key: str) -> Iterator[bytes]:
    """A million brackets."""
    return itertools.repeat(post("/v1/chat/completions", key, "application/json", b"[" * 1_000_000))


def public_bodies(key: str) -> Iterator[bytes]:
    """Bodies of 64 MB for the page, without a key."""
    body = bytes(64 << 20)
    return itertools.repeat(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def junk(key: str) -> Iterator[bytes]:
    """Bodies that are no images, as large as goes with a call to a replica."""
    return itertools.repeat(post("/v1/detect", key, "image/png", b"\x89PNG\r\n\x1a\n" + bytes(8_000_000)))


def junk_forms(key: str) -> Iterator[bytes]:
    """Sixteen files in a form that are no images, so that the answer is 200."""
    return itertools.repeat(form(key, [b"\x89PNG\r\n\x1a\n" + bytes(500_000)] * 16))


def junk_base64(key: str) -> Iterator[bytes]:
    """Sound JSON with 30 MB of base64 in it that is no image."""
    url = "data:image/png;base64," + "A" * 30_000_000
    return itertools.repeat(_chat(key, [{"type": "image_url", "image_url": {"url": url}}]))


def endless_string(key: str) -> Iterator[bytes]:
    """JSON that turns out to be none with its last byte."""
    return itertools.repeat(post("/v1/chat/completions", key, "application/json", b'{"model":"' + b"a" * 60_000_000))


def broken_json(key: str) -> Iterator[bytes]:
    """JSON that is none, as often as can be."""
    return itertools.repeat(post("/v1/chat/completions", key, "application/json", b'{"model":'))


def wrong_type(key: str) -> Iterator[bytes]:
    """Bodies of a media type that nobody takes."""
    return itertools.repeat(post("/v1/chat/completions", key, "text/plain", bytes(30_000_000)))


def slow_bodies(key: str) -> Iterator[bytes]:
    """Bodies of 60 MB that never end."""
    return itertools.repeat(post("/v1/detect", key, "image/png", bytes(60 << 20), 61 << 20))


def page_flood(key: str) -> Iterator[bytes]:
    """What needs no key, over and over."""
    paths = itertools.cycle(("/", "/openapi.json", "/v1/about", "/page/page.js"))
    return (f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode() for path in paths)


def silent_connections(key: str) -> Iterator[bytes]:
    """Connections on which nothing comes."""
    return itertools.repeat(b"GET / HT")


def one_file(make: Callable[[], bytes], key: str) -> Iterator[bytes]:
    """A file that costs more than it looks."""
    return itertools.repeat(post("/v1/detect", key, "image/png", make()))


def _chat(key: str, content: object) -> bytes:
    request = {"model": "builtin-small", "messages": [{"role": "user", "content": content}]}
    return post("/v1/chat/completions", key, "application/json", json.dumps(request).encode())


ATTACKS = {
    "bombs_of_sixteen": Attack(bombs_of_sixteen, 10),
    "bombs_as_allowed": Attack(bombs_as_allowed, 10),
    "bombs_below_large": Attack(bombs_below_large, 10, is_limited=True),
    "bombs_of_four_megapixels": Attack(bombs_of_four_megapixels, 10, is_limited=True),
    "stripes": Attack(stripes, 10, is_limited=True),
    "scans": Attack(scans, 10, is_limited=True),
    "cut_photographs": Attack(cut_photographs, 10),
    "many_images": Attack(many_images, 10, is_limited=True),
    "many_parts": Attack(many_parts, 4),
    "large_json": Attack(large_json, 2),
    "deep_json": Attack(deep_json, 4),
    "public_bodies": Attack(public_bodies, 4),
    "junk": Attack(junk, 32),
    "junk_forms": Attack(junk_forms, 8),
    "junk_base64": Attack(junk_base64, 4),
    "endless_string": Attack(endless_string, 4),
    "broken_json": Attack(broken_json, 32),
    "wrong_type": Attack(wrong_type, 8),
    "deaf": Attack(large_json, 8, listens=False),
    "slow_bodies": Attack(slow_bodies, 8, bytes_s=20e6),
    "page_flood": Attack(page_flood, 8),
    "silent_connections": Attack(silent_connections, 400),
    **{f"file_{name}": Attack(partial(one_file, make), 6, is_limited=True) for name, make in HOSTILE_FILES.items()},
}


async def run(attack: Attack, port: int, key: str, seconds: float) -> Counter[str]:
    """The answers, by status."""
    seen: Counter[str] = Counter()
    requests = attack.requests(key)

    async def go_on() -> None:
        while True:
            await _once(next(requests), attack, port, seen)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(go_on() for _ in range(attack.connections)))
    return seen


async def _once(request: bytes, attack: Attack, port: int, seen: Counter[str]) -> None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        seen[_SILENT] += 1
        await asyncio.sleep(0.1)
        return
    try:
        sending = asyncio.ensure_future(_send(writer, request, attack.bytes_s))
        head = await reader.read(4096)
        if attack.listens:
            sending.cancel()
        await asyncio.wait({sending})
        status = head[9:12].decode("latin-1") if head else _SILENT
        refused_badly = status == "503" and b"retry-after:" not in head.lower()
        seen[_NO_RETRY if refused_badly else status] += 1
        while await reader.read(1 << 16):
            pass
        if not head:
            await asyncio.sleep(0.05)
    except OSError:
        seen[_SILENT] += 1
    finally:
        sending.cancel()
        writer.close()


async def _send(writer: asyncio.StreamWriter, request: bytes, bytes_s: float | None) -> None:
    piece = 1 << 18 if bytes_s is None else max(1, int(bytes_s / 20))
    with contextlib.suppress(OSError):
        for start in range(0, len(request), piece):
            writer.write(request[start : start + piece])
            await writer.drain()
            if bytes_s is not None:
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    os.nice(_NICE)
    name, port, key, seconds = sys.argv[1:]
    print(json.dumps(asyncio.run(run(ATTACKS[name], int(port), key, float(seconds)))))
