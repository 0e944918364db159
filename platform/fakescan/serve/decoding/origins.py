"""What uploads say of their own origin; a file with a C2PA manifest is read in a process that may die of it."""

import json
import logging
import queue
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from fakescan.isolation.child import Child, ChildStartError, Death, WorkLimits
from fakescan.isolation.time_limit import Timed
from fakevlm.provenance import Basis, Origin, Provenance, TrustLists, read, sentence
from fakevlm.provenance.containers import walk

logger = logging.getLogger("ray.serve.fakescan")

_TIMEOUT_S = 5.0
_MEMORY_BYTES = 1 << 30


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


class OriginReader:
    """Reads uploads, on any thread. `processes`: files with a manifest that are read at once."""

    def __init__(self, trust: TrustLists | None, *, processes: int) -> None:
        self._read = _Read(trust)
        work = Timed(self._read, _TIMEOUT_S)
        limits = WorkLimits(timeout_s=_TIMEOUT_S, memory_bytes=_MEMORY_BYTES)
        self._all = [Child(work, limits, show=False) for _ in range(processes)]
        self._free: queue.SimpleQueue[Child[bytes, Provenance]] = queue.SimpleQueue()
        for process in self._all:
            self._free.put(process)

    def start(self) -> None:
        """Starts the processes without waiting for them."""
        for process in self._all:
            process.start()

    def read(self, data: bytes) -> FoundOrigin:
        """What a file says."""
        metadata = walk(data)
        found = self._apart(data) if metadata is not None and metadata.has_manifest else self._read(data)
        if isinstance(found, Death):
            return FoundOrigin(origin=None, words=f"its origin could not be read: {found.how}")
        detail = json.loads(found.detail) if found.detail else None
        origin, basis, generator, signer, _ = found
        return FoundOrigin(
            origin=origin, basis=basis, generator=generator, signer=signer, detail=detail, words=sentence(found)
        )

    def close(self) -> None:
        """Ends the processes."""
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
