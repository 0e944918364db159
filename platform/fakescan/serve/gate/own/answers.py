"""What the gate responds itself, without a replica: the page, and what a replica has said of the server before."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import resources

from fakescan import look
from fakescan.serve.problem import Problem

logger = logging.getLogger("ray.serve.fakescan")

FACTS_S = 5.0
"""Age from which on a fact is asked for again, behind the request that gets the old one."""
MAX_AGE_S = 15.0
"""Age from which on a request waits for the new answer: nobody may have asked since a rollout."""
_RETRY_S = 0.5
"""Seconds between two attempts."""
_ANSWER_S = 5.0
"""Seconds that a replica has to answer."""

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_PAGE_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


@dataclass(frozen=True)
class OwnAnswer:
    """A response with 200."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """Its headers: media type, ETag, and that it be asked for again before it is used again."""
    etag: bytes

    def is_known_to(self, if_none_match: bytes) -> bool:
        """Whether a client has it already, by what it sent as If-None-Match."""
        return any(tag.strip().removeprefix(b"W/") in (self.etag, b"*") for tag in if_none_match.split(b",", 16))


def own_answer(body: bytes, media_type: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> OwnAnswer:
    """The answer with this body."""
    etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
    common = ((b"content-type", media_type.encode()), (b"etag", etag), (b"cache-control", b"no-cache"))
    return OwnAnswer(body, (*common, *headers), etag)


def page_files() -> Mapping[str, OwnAnswer]:
    """The page by path: `/` is index.html, every other file is below `/page/`."""
    folder = resources.files("fakescan.serve") / "page"
    files = {
        f"/page/{path}": own_answer(data, media_type, _PAGE_HEADERS)
        for path, data in look.page_files(folder, look.ICON)
        if (media_type := _MEDIA_TYPES.get(path[path.rfind(".") :]))
    }
    return {"/": files.pop("/page/index.html"), **files}


@dataclass(frozen=True)
class FactResponse:
    """A replica's response to the question for a fact."""

    status: int
    media_type: str
    body: bytes


AskReplica = Callable[[str], Awaitable[FactResponse]]
"""The response of a replica to GET PATH; raises what it likes."""


@dataclass
class _Fact:
    answer: OwnAnswer | None = None
    asked_at: float = float("-inf")
    answered_at: float = float("-inf")
    has_failed: bool = False  # when it was asked last; then nobody waits who can have the old answer
    asking: asyncio.Task[None] | None = None


class Facts:
    """Responses that are the same for everybody until another checkpoint is rolled out.

    However many ask, a replica is asked once in FACTS_S, behind the requests that get the response of before, unless
    that is older than MAX_AGE_S. While none answers the last response stays.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._facts: dict[str, _Fact] = {}

    async def get(self, path: str, ask: AskReplica) -> OwnAnswer:
        """The response to GET PATH, of which there are few. Raises Problem (`starting`) before there is one."""
        fact = self._facts.setdefault(path, _Fact())
        now = self._clock()
        if fact.asking is None and now - fact.answered_at >= FACTS_S and now - fact.asked_at >= _RETRY_S:
            fact.asked_at = now
            fact.asking = asyncio.create_task(self._ask(path, fact, ask))
        is_old = now - fact.answered_at >= MAX_AGE_S and not fact.has_failed
        if fact.asking is not None and (fact.answer is None or is_old):
            await asyncio.wait({fact.asking})
        if fact.answer is None:
            raise Problem("starting", "no replica is ready")
        return fact.answer

    async def _ask(self, path: str, fact: _Fact, ask: AskReplica) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                response = await ask(path)
            if response.status == 200:
                if fact.answer is None or fact.answer.body != response.body:
                    fact.answer = own_answer(response.body, response.media_type)
                fact.answered_at = self._clock()
            fact.has_failed = response.status != 200
        except Exception as error:  # noqa: BLE001 - whatever happens to a replica, the last response stays
            fact.has_failed = True
            logger.info("%s: %s", path, error or type(error).__name__)
        finally:
            fact.asking = None
