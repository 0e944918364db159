"""Rates that one proxy counts by itself: of requests without a key by address, and of requests that are no images."""

import time
from collections import OrderedDict
from collections.abc import Callable

from fakescan.serve.gate.bounds.rate_limit import Bucket, Rate

_MAX_CLIENTS = 10_000


class LocalRates:
    """One bucket for each client; the client that has not been seen longest is forgotten, with what it owes."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str, rate: Rate) -> float:
        """0.0 for one more request of a client, else the seconds until there may be one."""
        now = self._clock()
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = Bucket(rate, now)
            if len(self._buckets) > _MAX_CLIENTS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(client)
            bucket.change(rate, now)
        return bucket.take(1, now)
