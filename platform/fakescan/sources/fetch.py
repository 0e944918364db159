"""Fetch: the bytes of the images in a block of manifest rows, or the reason why there are none."""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

import pyarrow as pa

from fakescan.isolation.time_limit import renew, while_responsive
from fakescan.sources.containers.archive_file import is_compressed
from fakescan.sources.containers.image_column import chosen_column
from fakescan.sources.containers.parquet import read_images
from fakescan.sources.containers.tar import read_members
from fakescan.storage.errors import classify
from fakescan.storage.io_loop import io_loop
from fakescan.storage.store import Store
from fakescan.storage.transport.base import UNKNOWN_VERSION, Body, ObjectVersion, Request, too_large
from fakescan.storage.transport.local import read_local
from fakescan.storage.transport.patient import FailedRead, PatientReader
from fakescan.storage.url import scheme_of
from fakescan.storage.weather.trouble import StoreAwayError, Trouble
from fakevlm.errors import ErrorCode, ImageError

_LOCAL_THREADS = 8
_SPAN_BYTES = 8 * 2**20
_GAP_BYTES = 128 * 2**10


@dataclass(frozen=True, slots=True)
class Fetched:
    """One image: `data`, its `sha256` in hex and `num_bytes`; or, with these None, an error code and message.

    `num_bytes` is known for some errors too, such as `too_large`. A Content-Encoding is removed first, so all three
    describe the image itself.
    """

    data: bytes | None = None
    sha256: str | None = None
    num_bytes: int | None = None
    error_code: ErrorCode | None = None
    error_message: str | None = None
    version: ObjectVersion = UNKNOWN_VERSION
    """Of the object that was read; for a member of a container that of the container."""


@dataclass(frozen=True, slots=True)
class _Span:
    """One request for neighbours in a tar: row index, first byte within the span and length of each."""

    request: Request
    members: list[tuple[int, int, int]]


_Job = tuple[int, Request] | _Span
_Results = Iterator[tuple[int, Fetched]]
_Place = TypeVar("_Place", int, tuple[int, int])
_Data = TypeVar("_Data")


class Fetcher:
    """Fetches blocks of manifest rows; the connections are kept for the life of the process.

    `max_bytes`: no larger image is read. `attempts`: requests per object before a transient error may be final.
    `patience_s`: for how long a store that answers nothing is waited for, and other faults of it are no object's, in
    seconds; 0: not at all.
    `concurrency`: requests at once within one `fetch`. `timeout_s`: for one attempt, in seconds. Pickles without its
    connections; several threads may use one.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_bytes: int = 64 * 2**20,
        attempts: int = 4,
        concurrency: int = 32,
        timeout_s: float = 60.0,
        patience_s: float = 0.0,
    ) -> None:
        self.store, self.max_bytes, self.attempts = store, max_bytes, attempts
        self.concurrency, self.timeout_s, self.patience_s = concurrency, timeout_s, patience_s
        self._reader = PatientReader(
            store,
            max_bytes=max_bytes,
            attempts=attempts,
            connections=concurrency,
            timeout_s=timeout_s,
            patience_s=patience_s,
        )

    def fetch(self, rows: pa.Table) -> list[Fetched]:
        """One result per row of a table with the columns of `MANIFEST_SCHEMA`, in row order.

        It raises for no image; only `StoreAwayError`, when patience with a store has ended.
        """
        results: list[Fetched] = [_EMPTY] * rows.num_rows
        single: list[tuple[int, Request]] = []
        members: list[tuple[int, Request]] = []
        packed: list[tuple[int, Request]] = []
        parquet_places: list[tuple[str, str, str, int, int]] = []
        columns = (rows[name].to_pylist() for name in ("uri", "size", "etag", "object", "offset"))
        for index, (uri, size, etag, container, offset) in enumerate(zip(*columns, strict=True)):
            if size is not None and size > self.max_bytes:
                results[index] = _failed(too_large(size, self.max_bytes), num_bytes=size)
            elif size == 0:
                continue
            elif container is None:
                single.append((index, Request(uri, etag, size)))
            elif uri.startswith("tar://"):
                of_a_kind = packed if is_compressed(container) else members
                of_a_kind.append((index, Request(container, etag, None, offset, size)))
            else:
                parquet_places.append(
                    (container, etag or "", chosen_column(uri) or "", -1 if offset is None else offset, index)
                )
        jobs: list[_Job] = [*single, *_spans(members)]
        local = [job for job in jobs if scheme_of(_request(job).uri) == "file"]
        remote = [job for job in jobs if scheme_of(_request(job).uri) != "file"]
        for index, result in self._fetch_local(local):
            results[index] = result
            renew()
        for index, result in io_loop().run(while_responsive(self._fetch_remote(remote))) if remote else ():
            results[index] = result
        for index, result in self._fetch_parquet(parquet_places):
            results[index] = result
            renew()
        for index, result in self._fetch_packed(packed):
            results[index] = result
            renew()
        return results

    def _fetch_local(self, jobs: list[_Job]) -> _Results:
        for results in _local_pool().map(self._read_local, jobs) if len(jobs) > 1 else map(self._read_local, jobs):
            yield from results

    def _read_local(self, job: _Job) -> list[tuple[int, Fetched]]:
        try:
            return _delivered(job, read_local(_request(job), self.max_bytes))
        except Exception as error:  # noqa: BLE001 - whatever one object does is its own row
            return _undelivered(job, _failed(error))

    def _fetch_parquet(self, wanted: list[tuple[str, str, str, int, int]]) -> _Results:
        """Images of file, etag, named column, place and row index; each file is read once."""
        for (container, etag, column), group in groupby(sorted(wanted), key=itemgetter(0, 1, 2)):
            indices: dict[int, list[int]] = {}
            for *_, place, index in group:
                indices.setdefault(place, []).append(index)
            version = ObjectVersion(etag or None)
            images = partial(read_images, container, etag or None, store=self.store, column=column or None)
            yield from self._fetch_contained(container, images, indices, partial(self._image, version=version))

    def _image(self, data: bytes | ImageError | None, version: ObjectVersion) -> Fetched:
        if isinstance(data, ImageError):
            return _failed(data)
        if data is not None and len(data) > self.max_bytes:
            return _failed(too_large(len(data), self.max_bytes), num_bytes=len(data))
        return _fetched(data or b"", version)

    def _fetch_packed(self, wanted: list[tuple[int, Request]]) -> _Results:
        """Members of compressed tar files, each of which is unpacked once, up to the last member that is wanted."""
        tars: dict[tuple[str, str | None], dict[tuple[int, int], list[int]]] = {}
        for index, request in wanted:
            spans = tars.setdefault((request.uri, request.etag), {})
            spans.setdefault((request.first or 0, request.length or 0), []).append(index)  # links share a span
        for (tar, etag), spans in tars.items():
            version = ObjectVersion(etag)
            members = partial(read_members, tar, etag, store=self.store)
            yield from self._fetch_contained(tar, members, spans, partial(_fetched, version=version))

    def _fetch_contained(
        self,
        container: str,
        read: Callable[[list[_Place]], Iterator[tuple[_Place, _Data]]],
        indices: dict[_Place, list[int]],
        result: Callable[[_Data], Fetched],
    ) -> _Results:
        """What lies at places in a container; each with the row indices that want it, which are done with on return."""
        request = Request(container)
        trouble: Trouble[Request] | None = None
        is_local = scheme_of(container) == "file"
        while indices:
            left, sent_at = len(indices), time.monotonic()
            try:
                for place, data in read(sorted(indices)):
                    yield from ((index, result(data)) for index in indices.pop(place))
                if not is_local:
                    io_loop().run(self._reader.delivered(request))
                break
            except Exception as error:  # noqa: BLE001 - as above
                failure = error
            if not is_local:
                failure = io_loop().run(self._reader.explained(request, failure))
                trouble = trouble if trouble is not None and len(indices) == left else self._reader.trouble(container)
                if io_loop().run(self._reader.goes_on(trouble, request, failure, sent_at)):
                    continue
            failed = _failed(failure, attempts=trouble.tries if trouble is not None else 1)
            yield from ((index, failed) for wanting in indices.values() for index in wanting)
            break
        if trouble is not None:
            trouble.end()

    async def _fetch_remote(self, jobs: list[_Job]) -> list[tuple[int, Fetched]]:
        waiting = iter(jobs)
        done: list[tuple[int, Fetched]] = []

        async def work() -> None:
            for job in waiting:  # shared: each worker takes the next one
                done.extend(await self._fetch_one(job))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.concurrency, len(jobs))):
                    group.create_task(work())
        except* StoreAwayError as away:
            ended = away.exceptions[0]
        else:
            return done
        raise ended

    async def _fetch_one(self, job: _Job) -> list[tuple[int, Fetched]]:
        result = await self._reader.read(_request(job))
        if isinstance(result, FailedRead):
            return _undelivered(job, _failed(result.error, attempts=result.attempts))
        return _delivered(job, result)


_EMPTY = Fetched(num_bytes=0, error_code=ErrorCode.EMPTY, error_message="the object is empty")


def _fetched(data: bytes, version: ObjectVersion) -> Fetched:
    if not data:
        return replace(_EMPTY, version=version)
    return Fetched(data, hashlib.sha256(data).hexdigest(), len(data), version=version)


def _failed(error: Exception, *, num_bytes: int | None = None, attempts: int = 1) -> Fetched:
    code, message = (error.code, error.message) if isinstance(error, ImageError) else classify(error)
    if attempts > 1:
        message = f"{message} ({attempts} attempts)"
    return Fetched(num_bytes=num_bytes, error_code=code, error_message=message)


def _request(job: _Job) -> Request:
    return job.request if isinstance(job, _Span) else job[1]


def _delivered(job: _Job, body: Body) -> list[tuple[int, Fetched]]:
    if isinstance(job, _Span):
        return [
            (index, _fetched(body.data[first : first + length], body.version)) for index, first, length in job.members
        ]
    return [(job[0], _fetched(body.data, body.version))]


def _undelivered(job: _Job, failed: Fetched) -> list[tuple[int, Fetched]]:
    return [(index, failed) for index, _, _ in job.members] if isinstance(job, _Span) else [(job[0], failed)]


def _spans(members: list[tuple[int, Request]]) -> list[_Span]:
    """Reads of tar members that lie close to each other made into one; the headers between them come along."""
    spans: list[_Span] = []
    end = 0
    for index, request in sorted(members, key=lambda item: (item[1].uri, item[1].first or 0)):
        first, length = request.first or 0, request.length or 0
        last = spans[-1].request if spans else None
        if last is not None and (last.uri, last.etag) == (request.uri, request.etag):
            start = last.first or 0
            if first - end <= _GAP_BYTES and first + length - start <= _SPAN_BYTES:
                end = max(end, first + length)
                widened = Request(last.uri, last.etag, None, start, end - start)
                spans[-1] = _Span(widened, [*spans[-1].members, (index, first - start, length)])
                continue
        spans.append(_Span(request, [(index, 0, length)]))
        end = first + length
    return spans


_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


def _local_pool() -> ThreadPoolExecutor:
    """The threads that wait for local disks and network mounts, one set per process."""
    with _lock:
        if os.getpid() not in _pools:
            _pools[os.getpid()] = ThreadPoolExecutor(_LOCAL_THREADS, thread_name_prefix="fakescan-local")
        return _pools[os.getpid()]
