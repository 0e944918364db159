"""Rates that one proxy counts by itself: of requests without a key by address, of those that are no images, of junk."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from fakescan.serve.gate.bounds.rate_limit import Bucket, Rate

_MAX_CLIENTS = 10_000


class LocalRates:
    """One bucket for each client; the client that has not been seen longest is forgotten, with what it owes."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: Hashable, rate: Rate) -> float:
        """0.0 for one more request of a client, else the seconds until there may be one."""
        now = self._clock()
        return self._bucket(client, rate, now).take(1, now)

    def wait(self, client: Hashable, rate: Rate) -> float:
        """The same without taking anything. A client that is not known owes nothing, and is not remembered."""
        if client not in self._buckets:
            return 0.0
        return self._bucket(client, rate, self._clock()).wait(1)

    def charge(self, client: Hashable, rate: Rate, tokens: int, max_debt: int) -> None:
        """Takes tokens into debt, up to `max_debt`; fewer than none are given back."""
        if tokens <= 0 and client not in self._buckets:
            return
        now = self._clock()
        bucket = self._bucket(client, rate, now)
        bucket.charge(tokens, now)
        bucket.tokens = min(float(rate.burst), max(bucket.tokens, -max_debt))

    def _bucket(self, client: Hashable, rate: Rate, now: float) -> Bucket:
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = Bucket(rate, now)
            if len(self._buckets) > _MAX_CLIENTS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(client)
            bucket.change(rate, now)
        return bucket
