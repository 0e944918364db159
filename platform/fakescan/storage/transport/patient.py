"""Reads objects with patience: as many at once as their store bears, in a bound of bytes, again where that helps."""

import asyncio
import math
import os
import time
from typing import NamedTuple

from fakescan.storage.errors import http_status, root_cause
from fakescan.storage.store import Store
from fakescan.storage.transport.base import Body, Request, Transport
from fakescan.storage.transport.bytes_in_flight import BytesInFlight
from fakescan.storage.transport.factory import shared_transport
from fakescan.storage.url import names_host, scheme_of
from fakescan.storage.weather.faults import Fault, fault_of, is_wordless
from fakescan.storage.weather.record import StoreRecord, WebRecord
from fakescan.storage.weather.trouble import Trouble
from fakescan.telemetry.metric import Gauge
from fakevlm.errors import ImageError

_PROBE_S = 10.0
"""Seconds in which a probe must be answered."""

LIMIT = Gauge(
    "fakescan_store_request_limit",
    "Requests that this process may have in flight to stores that throttle or fail; 0 where nothing is limited.",
)

_records: dict[tuple[object, ...], StoreRecord[Request]] = {}
_webs: dict[tuple[int, str], WebRecord[Request]] = {}
_bytes: dict[int, BytesInFlight] = {}


class FailedRead(NamedTuple):
    """An object that was given up."""

    error: Exception
    attempts: int


class PatientReader:
    """Reads objects through the transports that this process shares. To be used on `io_loop`'s thread.

    The settings are those of `fakescan.sources.fetch.Fetcher`.
    """

    def __init__(
        self, store: Store, *, max_bytes: int, attempts: int, connections: int, timeout_s: float, patience_s: float
    ) -> None:
        self._store, self._max_bytes, self._connections = store, max_bytes, connections
        self._attempts, self._timeout_s, self._patience_s = attempts, timeout_s, patience_s

    async def read(self, request: Request) -> Body | FailedRead:
        """The bytes, or why there are none. Raises `StoreAwayError` when its store was away for too long."""
        record = self._record(request.uri)
        trouble: Trouble[Request] | None = None
        try:
            while True:
                await record.limiter.enter()
                sent_at = time.monotonic()
                try:
                    body = await self._read_once(request)
                except Exception as error:  # noqa: BLE001 - whatever one object does is its own row
                    failure = error
                else:
                    record.answer(request, first_try=trouble is None)
                    return body
                finally:
                    record.limiter.leave()
                trouble = trouble or self.trouble(request.uri)
                if not await self.goes_on(trouble, request, failure, sent_at):
                    return FailedRead(failure, trouble.tries)
        finally:
            if trouble is not None:
                trouble.end()

    def trouble(self, uri: str) -> Trouble[Request]:
        """For the failures of an object, or of a container of objects."""
        return Trouble(self._record(uri), self._probe, attempts=self._attempts, patience_s=self._patience_s)

    async def goes_on(self, trouble: Trouble[Request], request: Request, error: Exception, sent_at: float) -> bool:
        """As in `Trouble`, with credentials read again where they are the trouble."""
        fault, record = fault_of(error), self._record(request.uri)
        if _is_answer(error, fault, record):
            record.answer(request, first_try=not trouble.tries, delivered=False)
        if fault is Fault.CREDENTIALS and self._patience_s:
            await self._renew(request)
        goes_on = await trouble.goes_on(error, sent_at)
        if goes_on and fault is Fault.DENIED:
            await self._renew(request)
        return goes_on

    async def explained(self, request: Request, error: Exception) -> Exception:
        """The error, or what a GET of a byte says where a HEAD was refused without a word."""
        if not is_wordless(error):
            return error
        try:
            async with asyncio.timeout(min(_PROBE_S, self._timeout_s)):
                await self._transport(request).read(Request(request.uri, first=0, length=1))
        except Exception as reason:  # noqa: BLE001 - it is what is asked for
            return reason
        return error

    async def delivered(self, request: Request) -> None:
        """A container of objects was read by other means."""
        self._record(request.uri).answer(request, first_try=True)

    async def _renew(self, request: Request) -> None:
        record = self._record(request.uri)
        if record.renewal_is_due(time.monotonic()):
            await self._transport(request).renew()

    async def _read_once(self, request: Request) -> Body:
        with _bytes_in_flight().room() as room:
            await room.reserve(request.length or request.size or 0)
            async with asyncio.timeout(self._timeout_s) as limit:
                with room.timed_by(limit):
                    return await self._transport(request).read(request, room)

    async def _probe(self, request: Request) -> bool:
        """Whether the store still gives an object that it gave: its first byte."""
        try:
            async with asyncio.timeout(min(_PROBE_S, self._timeout_s)):
                await self._transport(request).read(Request(request.uri, first=0, length=1))
        except Exception as error:  # noqa: BLE001 - the answer is in it
            fault = fault_of(error)
            return _is_answer(error, fault, self._record(request.uri))
        return True

    def _transport(self, request: Request) -> Transport:
        return shared_transport(
            scheme_of(request.uri),
            self._store,
            max_bytes=self._max_bytes,
            connections=self._connections,
            timeout_s=self._timeout_s,
        )

    def _record(self, uri: str) -> StoreRecord[Request]:
        """This process's record of the store that has the object."""
        scheme, _, place = uri.partition("://")
        name = place.partition("/")[0]
        if names_host(uri):
            key = (os.getpid(), self._store.identity)
            web = _webs.get(key) or _webs.setdefault(key, WebRecord())
            return web.host(f"{scheme.lower()}://{name.rpartition('@')[2].lower()}")
        if self._store.endpoint_url and scheme_of(uri) == "s3":
            name = ""  # all buckets have one server
        full = (os.getpid(), self._store.identity, scheme, name)
        found = _records.get(full)
        if found is None:
            found = _records[full] = StoreRecord(f"{scheme}://{place.partition('/')[0]}")
        return found


def _is_answer(error: Exception, fault: Fault, record: StoreRecord[Request]) -> bool:
    """Whether the error is what a store says of one object, rather than that of a store that cannot say it."""
    if fault is Fault.DENIED:
        return record.web is not None
    if fault is not Fault.OBJECT:
        return False
    return isinstance(error, ImageError | FileNotFoundError) or http_status(root_cause(error)) is not None


def record_limits() -> None:
    """Record how many requests the stores with a limit may get from this process at once."""
    limits = [record.limiter.limit for record in list(_records.values()) if record.limiter.limit < math.inf]
    LIMIT.set(sum(limits))


def _bytes_in_flight() -> BytesInFlight:
    pid = os.getpid()
    if pid not in _bytes:
        _bytes[pid] = BytesInFlight()
    return _bytes[pid]
