"""The stage that feeds the engines: a group of shards' numbers to a block of decoded images for each."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import pyarrow as pa

from fakescan.scan.poison.deaths import SHARD_DEATHS
from fakescan.scan.poison.suspicion import previous_attempts
from fakescan.scan.stages import Decode, Fetch


@dataclass(frozen=True)
class Feed:
    """Fetch and decode in one process: one task less for each shard, and no copy of the files between two processes.

    While a shard is decoded the next one is fetched, so that neither the network nor the CPU waits for the other.
    """

    fetch: Fetch
    decode: Decode

    def __call__(self, group: pa.Table) -> Iterator[pa.Table]:
        """From rows with `shard` to `decoded_schema`, a table for each shard."""
        first, *others = (group.slice(row, 1) for row in range(group.num_rows))
        if previous_attempts() >= SHARD_DEATHS:
            # With care, on this thread: it alone knows how often Ray has begun its task.
            for shard in (first, *others):
                yield self.decode(self.fetch(shard))
            return
        fetched = self.fetch(first)
        if not others:
            yield self.decode(fetched)
            return
        for other in others:
            coming = self._fetch_ahead(other)
            yield self.decode(fetched)
            fetched = coming.result()
        yield self.decode(fetched)

    def _fetch_ahead(self, shard: pa.Table) -> Future[pa.Table]:
        """Fetch on a thread that nobody waits for when this process ends: it may be waiting for a store."""
        fetched: Future[pa.Table] = Future()

        def fetch() -> None:
            try:
                fetched.set_result(self.fetch(shard))
            except BaseException as error:  # noqa: BLE001 - raised again by the task, whatever it is
                fetched.set_exception(error)

        threading.Thread(target=fetch, name="fetch-ahead", daemon=True).start()
        return fetched
