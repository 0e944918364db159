"""What this process has lately seen of one store: when it last answered, and how often objects fail at first."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from fakescan.storage.weather.limiter import Limiter
from fakescan.storage.weather.waits import WAITS

R = TypeVar("R")

_RENEWAL_S = 5.0
"""Seconds between two readings of the same credentials."""
_KNOWN_HOSTS = 5
_MAX_HOSTS = 10_000

Probe = Callable[[R], Awaitable[bool]]
"""Reads a little of an object that was there a moment ago; whether the store gave it."""


class StoreRecord(Generic[R]):
    """One store, or one host of the web. `R` is a request. Used on one event loop.

    `sound` and `failed` count a fair sample of the store's answers: objects at their first try, and probes. Objects
    that are tried again are no such sample, for the bad ones are tried most.
    """

    def __init__(self, name: str, web: "WebRecord[R] | None" = None) -> None:
        self.name = name
        self.web = web
        """The web, where this is one of its hosts."""
        self.limiter = Limiter()
        self.answered_at = -math.inf
        """When it last answered a request: with an object, or with what is wrong with that one."""
        self.troubled_at: float | None = None
        """When the first request failed since then."""
        self.recovered_at = -math.inf
        """When it answered after the latest failures."""
        self.sound = self.failed = 0
        self.is_given_up = False
        """Whether an object of a host was given up while the host answered nothing."""
        self.good: R | None = None
        """A request that it answered, to be asked again as a probe."""
        self._renewed_at = -math.inf
        self._probing: asyncio.Task[bool] | None = None
        self._probed_from = -math.inf

    @property
    def has_answered(self) -> bool:
        """Whether it has ever answered this process."""
        return self.answered_at > -math.inf

    def quiet_s(self, now: float) -> float:
        """Seconds for which nothing but failures has come."""
        return now - max(self.answered_at, self.troubled_at or now)

    def answer(self, request: R, *, first_try: bool, delivered: bool = True) -> None:
        """It answered a request: with the object, or with what is wrong with that one."""
        self.answered_at = time.monotonic()
        self.sound += first_try
        self.is_given_up = False
        if delivered or (self.good is None and self.web is not None):
            self.good = request
        self.limiter.delivered()
        if self.troubled_at is not None:
            self.troubled_at, self.recovered_at = None, self.answered_at
        if WAITS.any:
            WAITS.end(self.name, answered=True)
        if self.web is not None:
            self.web.answer(self)

    def failure(self, *, first_try: bool) -> None:
        """A request came to nothing, and perhaps not by the object's fault."""
        if self.troubled_at is None:
            self.troubled_at = time.monotonic()
        self.failed += first_try

    def renewal_is_due(self, now: float) -> bool:
        """Whether its credentials are to be read again now; then they are."""
        if now - self._renewed_at < _RENEWAL_S:
            return False
        self._renewed_at = now
        return True

    def give_up(self) -> None:
        """An object was given up while the host answered nothing: the next ones have one try each, and all at once."""
        self.is_given_up = True
        self.limiter.free()

    async def is_answering(self, since: float, probe: Probe[R]) -> bool:
        """Whether it has answered something after that moment; where nothing else was asked, a probe is."""
        if self.answered_at > since:
            return True
        if self.good is None:
            return False
        while self._probing is not None and not self._probing.done():
            task = self._probing
            began = self._probed_from
            done = await asyncio.shield(task)
            if began > since:
                return done
            if self.answered_at > since:
                return True
        self._probed_from = time.monotonic()
        self._probing = asyncio.ensure_future(self._probe(self.good, probe))
        return await asyncio.shield(self._probing)

    async def _probe(self, request: R, probe: Probe[R]) -> bool:
        answers = await probe(request)
        if answers:
            self.answer(request, first_try=True, delivered=False)
        else:
            self.failure(first_try=True)
        return answers


class WebRecord(Generic[R]):
    """The web as a whole: whether any of its hosts answers tells a host's fault from one of the network."""

    def __init__(self) -> None:
        self.answered_at = -math.inf
        self._hosts: OrderedDict[str, StoreRecord[R]] = OrderedDict()
        self._known: OrderedDict[str, StoreRecord[R]] = OrderedDict()

    @property
    def has_answered(self) -> bool:
        """Whether any host has ever answered this process."""
        return self.answered_at > -math.inf

    def host(self, name: str) -> StoreRecord[R]:
        """The record of a host. Those of hosts that were not asked for long are forgotten."""
        found = self._hosts.get(name)
        if found is None:
            found = self._hosts[name] = StoreRecord(name, self)
            while len(self._hosts) > _MAX_HOSTS:
                self._hosts.popitem(last=False)
        else:
            self._hosts.move_to_end(name)
        return found

    def answer(self, host: StoreRecord[R]) -> None:
        """A host answered."""
        self.answered_at = host.answered_at
        if next(reversed(self._known), None) != host.name:
            self._known[host.name] = host
            self._known.move_to_end(host.name)
            if len(self._known) > _KNOWN_HOSTS:
                self._known.popitem(last=False)

    async def is_answering(self, since: float, probe: Probe[R], *, but: StoreRecord[R]) -> bool:
        """Whether another host has answered anything after that moment, asking those that answered last."""
        if self.answered_at > since:
            return True
        for host in list(self._known.values()):
            if host is not but and await host.is_answering(since, probe):
                return True
        return self.answered_at > since
