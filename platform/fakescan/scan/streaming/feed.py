"""The stage that feeds the engines: a group of shards' numbers to a block of decoded images for each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

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
        fetched = self.fetch(first)
        if not others:
            yield self.decode(fetched)
            return
        ahead = ThreadPoolExecutor(1, thread_name_prefix="fetch")
        try:
            for other in others:
                coming = ahead.submit(self.fetch, other)
                yield self.decode(fetched)
                fetched = coming.result()
            yield self.decode(fetched)
        finally:
            ahead.shutdown(wait=False, cancel_futures=True)
