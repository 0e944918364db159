"""What uploads say of their own origin; one that says much, or has a C2PA manifest, is read in a process of its own."""

import asyncio
import json
import logging
import os
import queue
import signal
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from fakescan.isolation.child import Child, ChildStartError, Death, WorkLimits
from fakescan.isolation.time_limit import Timed
from fakescan.serve.decoding.lane import Lane
from fakevlm.provenance import Basis, Origin, Provenance, TrustLists, read, read_light, sentence

logger = logging.getLogger("ray.serve.fakescan")

_TIMEOUT_S = 5.0
_CPU_S = 1.0
"""CPU seconds that one file may take. A signed photograph takes a hundredth, and one of 30 MB a fifth."""
_NICE = 10
_MEMORY_BYTES = 1 << 30
_LEAST_COST = 100_000
"""Bytes in whose time a small file is read."""


class FoundOrigin(BaseModel):
    """What the file says of its own origin. It is no verdict, and no part of the score."""

    origin: Origin | None
    """Null where the file could not be read for it."""
    basis: Basis | None = None
    """Where it says so. Only c2pa_trusted is evidence; everybody can write the rest."""
    generator: str | None = None
    signer: str | None = None
    detail: dict[str, Any] | None = None
    """What was found, in the file's own words."""
    words: str
    """The same in a sentence for people; text of a stranger's, never markup."""


@dataclass(frozen=True)
class _Read:
    trust: TrustLists | None

    def __call__(self, data: bytes) -> Provenance:
        return read(data, trust=self.trust)


@dataclass(frozen=True)
class _ReadApart:
    """The work of the process: it gives way to the rest, and the kernel ends it where a file takes too long."""

    read: _Read

    def __call__(self, data: bytes) -> Provenance:
        if os.nice(0) < _NICE:  # the first time
            os.nice(_NICE)
        signal.setitimer(signal.ITIMER_PROF, _CPU_S)
        try:
            return self.read(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


class OriginReader:
    """Reads uploads. `processes`: files that are read apart at once; keys take turns."""

    def __init__(self, trust: TrustLists | None, *, processes: int) -> None:
        self._lane = Lane("origins", processes)
        work = Timed(_ReadApart(_Read(trust)), _TIMEOUT_S)
        limits = WorkLimits(timeout_s=_TIMEOUT_S, memory_bytes=_MEMORY_BYTES)
        self._all = [Child(work, limits, show=False) for _ in range(processes)]
        self._free: queue.SimpleQueue[Child[bytes, Provenance]] = queue.SimpleQueue()
        for process in self._all:
            self._free.put(process)

    def start(self) -> None:
        """Starts the processes without waiting for them."""
        for process in self._all:
            process.start()

    def read_light(self, data: bytes) -> FoundOrigin | None:
        """What a file says, on any thread; None for one that is for `read_apart`."""
        found = read_light(data)
        return None if found is None else _found(found)

    async def read_apart(self, data: bytes, key: str) -> FoundOrigin:
        """What any file says, for one event loop. It waits for the turn of the client's key, while no thread does."""
        reading = await self._lane.run(key, max(len(data), _LEAST_COST), lambda: lambda: _found(self._apart(data)))
        return await asyncio.wrap_future(reading)

    def close(self) -> None:
        """Ends the processes."""
        self._lane.close()
        for process in self._all:
            process.close()

    def _apart(self, data: bytes) -> Provenance | Death:
        process = self._free.get()
        try:
            return process.do(data)
        except ChildStartError as error:
            logger.error("%s", error)
            return Death("no process can be started to read it in")
        finally:
            self._free.put(process)


def _found(found: Provenance | Death) -> FoundOrigin:
    if isinstance(found, Death):
        return FoundOrigin(origin=None, words=f"its origin could not be read: {found.how}")
    detail = json.loads(found.detail) if found.detail else None
    origin, basis, generator, signer, _ = found
    return FoundOrigin(
        origin=origin, basis=basis, generator=generator, signer=signer, detail=detail, words=sentence(found)
    )
