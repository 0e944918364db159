"""Rate limits by key that several proxies share, with one call for many requests instead of one for each.

One process, the warden, holds a `SharedLimiter`; every proxy holds a `LeasedLimiter`, which asks the warden for the
requests that wait and gets some tokens ahead where a key is busy. Tokens ahead cost the limit none of its exactness:
the warden counts them as held until their proxy asks again or they expire, and lets the bucket fill only up to `burst`
less what is held. So at any time a, the bucket and the proxies have at most `burst` tokens together, and up to a time b
at most `per_second * (b - a)` are added. With answers that are under way for at most d seconds, all proxies together
let in at most `burst + per_second * (b - a + d)` requests between a and b; every limiter that is asked has such a d.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

LEASE_S = 1.0
"""Seconds for which tokens ahead may be spent, and for which a proxy waits for the warden."""
RETRY_S = 1.0
"""Seconds between two attempts to reach a warden that failed."""
MAX_KEYS = 100_000
"""Keys of which a limiter knows anything; beyond them the one idle for longest is forgotten, with its debts."""

_MIN_REFUSAL_S = 0.001
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Rate:
    """How much a key may take."""

    per_second: float
    """Tokens that are added in a second; above 0."""
    burst: int
    """The most tokens at once; at least 1."""

    def __post_init__(self) -> None:
        assert self.per_second > 0, self
        assert self.burst >= 1, self


class Bucket:
    """A token bucket, full at first. Times are seconds of any monotonic clock."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._at = now
        self.tokens = float(rate.burst)
        """Tokens at the time of the last call; negative after `charge`."""
        self.held = 0
        """Tokens that were taken and may not be spent yet: the bucket fills only up to `burst - held`."""

    def refill(self, now: float) -> None:
        """Add what has come since the last call; nothing for a time before it."""
        added = self._rate.per_second * max(0.0, now - self._at)
        self._at = max(self._at, now)
        self.tokens = min(self.tokens + added, max(0.0, float(self._rate.burst - self.held)))

    def take(self, n: int, now: float) -> float:
        """Take n tokens and return 0.0, or take none and return the seconds until there are n (inf: never)."""
        self.refill(now)
        if self.tokens + _ROUNDING < n:
            return self.wait(n)
        self.tokens -= n
        return 0.0

    def charge(self, n: int, now: float) -> None:
        """Take n tokens whether they are there or not."""
        self.refill(now)
        self.tokens -= n

    def wait(self, n: int) -> float:
        """Seconds from the last call until there are n tokens; inf for more than the burst."""
        return math.inf if n > self._rate.burst else max(0.0, (n - self.tokens) / self._rate.per_second)

    def change(self, rate: Rate, now: float) -> None:
        """Fill at another rate from now on; tokens above its burst are lost."""
        self.refill(now)
        self._rate = rate
        self.refill(now)


@dataclass(frozen=True)
class TokenLease:
    """What the warden answers a proxy."""

    tokens: int
    """Tokens that the proxy may spend; more than were wanted where some are given ahead."""
    retry_after_s: float
    """Seconds until asking again is worth it; 0.0 if all tokens that were wanted are there."""
    expires_in_s: float
    """Seconds from the asking until what is left of the tokens is void."""


@dataclass(frozen=True)
class _Loan:
    """What a proxy got when it last asked: tokens ahead, how many it might have had, when they are void."""

    ahead: int
    size: int
    until: float


@dataclass
class _Account:
    """The bucket of one key and the loans of it by proxy."""

    bucket: Bucket
    loans: dict[Hashable, _Loan] = field(default_factory=dict)

    def settle(self, now: float) -> None:
        """Fill the bucket up to now, past each expired loan in its turn: until then its tokens were held."""
        for proxy, loan in sorted(self.loans.items(), key=lambda item: item[1].until):
            if loan.until > now:
                break
            self.bucket.refill(loan.until)
            self.end_loan(proxy)
        self.bucket.refill(now)

    def end_loan(self, proxy: Hashable) -> _Loan | None:
        loan = self.loans.pop(proxy, None)
        self.bucket.held -= loan.ahead if loan is not None else 0
        return loan


class SharedLimiter:
    """The warden's side: one bucket for each key, and who holds tokens of it."""

    def __init__(self, *, most_keys: int = MAX_KEYS) -> None:
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._most_keys = most_keys

    def __len__(self) -> int:
        return len(self._accounts)

    def lease(self, key_id: str, rate: Rate, wanted: int, extra: int, now: float, *, proxy: Hashable) -> TokenLease:
        """Give `proxy` up to `wanted` tokens, for requests that wait there, and some ahead if it asks often.

        `extra` tokens are taken before, for what it let in without any. By asking, a proxy says that it holds no
        unspent tokens of this key: its calls must be handled in the order in which it makes them, and one that was
        restarted needs another name. `now` is in seconds of the warden's clock.
        """
        account = self._accounts.get(key_id)
        if account is None:
            account = self._accounts[key_id] = _Account(Bucket(rate, now))
            if len(self._accounts) > self._most_keys:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(key_id)
        bucket = account.bucket
        # In this order: when the tokens of the loan were spent is unknown, so they are held up to now.
        account.settle(now)
        last = account.end_loan(proxy)
        bucket.change(rate, now)
        bucket.charge(extra, now)

        there = int(max(0.0, bucket.tokens + _ROUNDING))
        tokens = min(wanted, there)
        # A proxy that asks again within LEASE_S has spent what it got, and gets more.
        size = 0 if last is None else min(2 * last.size + 1, _most_ahead(rate))
        ahead = max(0, min(size, there - tokens, rate.burst // 2 - bucket.held))
        bucket.charge(tokens + ahead, now)
        bucket.held += ahead
        account.loans[proxy] = _Loan(ahead, size, now + LEASE_S)
        # Where tokens are scarce a proxy comes back for a whole lease: coming for each token would be a call for each.
        return TokenLease(tokens + ahead, bucket.wait(1 + size) if tokens < wanted else 0.0, LEASE_S)


def _most_ahead(rate: Rate) -> int:
    """Tokens that a proxy gets ahead at most: so few that others hardly miss those that expire unused."""
    return int(min(rate.per_second * 0.2, rate.burst / 4))


AskForLease = Callable[[str, Rate, int, int], Awaitable[TokenLease]]
"""Asks the warden: key id, rate, wanted, extra, as `SharedLimiter.lease` has them."""


@dataclass
class _State:
    """What a proxy knows of one key."""

    rate: Rate
    tokens: int = 0
    expires_at: float = -math.inf
    refused_until: float = -math.inf
    short: bool = False  # the last answer was fewer tokens than requests waited
    extra: int = 0
    waiting: int = 0
    call: asyncio.Task[None] | None = None
    local: Bucket | None = None

    def take_local(self, now: float) -> float:
        """0.0, or seconds to wait, from a bucket of this process alone."""
        if self.local is None:
            self.local = Bucket(self.rate, now)
        self.local.change(self.rate, now)
        extra, self.extra = self.extra, 0
        self.local.charge(extra, now)
        return self.local.take(1, now)


class LeasedLimiter:
    """A proxy's side: lets requests in on leased tokens.

    When the warden fails, or is silent for LEASE_S, every key gets a bucket of its own in this process until leasing
    works again, which is tried every RETRY_S: limits then hold for each proxy, not for all of them together.
    """

    def __init__(
        self, lease: AskForLease, *, clock: Callable[[], float] = time.monotonic, most_keys: int = MAX_KEYS
    ) -> None:
        """`lease` raises anything if it fails; `clock` counts seconds and need not be the warden's."""
        self._lease = lease
        self._clock = clock
        self._most_keys = most_keys
        self._states: OrderedDict[str, _State] = OrderedDict()
        self._try_again_at: float | None = None  # None: the warden answers

    def __len__(self) -> int:
        return len(self._states)

    async def admit(self, key_id: str, rate: Rate) -> float:
        """0.0 lets one request in; otherwise the seconds after which it is worth trying again.

        All requests of a key that wait share one call to the warden; after a refusal there is none for those seconds.
        """
        state = self._state(key_id, rate)
        state.waiting += 1
        answered = False
        try:
            while True:
                now = self._clock()
                if state.tokens and now < state.expires_at:
                    state.tokens -= 1
                    return 0.0
                if now < state.refused_until or (answered and state.short):
                    return max(state.refused_until - now, _MIN_REFUSAL_S)
                if state.call is None and (self._try_again_at is None or now >= self._try_again_at):
                    if self._try_again_at is not None:
                        self._try_again_at = now + RETRY_S
                    state.call = asyncio.create_task(self._ask(key_id, state))
                if state.call is None or self._try_again_at is not None:
                    return state.take_local(now)
                # Unlike `await state.call` this leaves the call to the others when this request is cancelled.
                await asyncio.wait([state.call])
                answered = True
        finally:
            state.waiting -= 1

    def charge(self, key_id: str, n: int) -> None:
        """Note n more tokens for a request that was let in: taken from those at hand, the rest with the next call."""
        state = self._states.get(key_id)
        if state is not None:
            at_hand = min(state.tokens, n) if self._clock() < state.expires_at else 0
            state.tokens -= at_hand
            state.extra += n - at_hand

    async def _ask(self, key_id: str, state: _State) -> None:
        """One call to the warden, and what follows from its answer. Never raises."""
        asked_at = self._clock()
        wanted = state.waiting
        extra, state.extra = state.extra, 0
        state.tokens, state.short = 0, False
        try:
            async with asyncio.timeout(LEASE_S):
                lease = await self._lease(key_id, state.rate, wanted, extra)
        except Exception as error:  # noqa: BLE001 - whatever stands between here and the warden raises what it likes
            state.extra += extra
            if self._try_again_at is None:
                logger.warning("rate limits hold for each proxy alone, the warden fails: %s", str(error) or repr(error))
            self._try_again_at = self._clock() + RETRY_S
        else:
            if self._try_again_at is not None:
                logger.warning("rate limits hold for all proxies together again")
            self._try_again_at = None
            # Tokens of requests that have gone are void, for only those ahead are known to be held.
            state.tokens = max(0, lease.tokens - max(0, wanted - state.waiting))
            state.expires_at = asked_at + lease.expires_in_s
            if lease.tokens < wanted:
                state.short = True
                state.refused_until = asked_at + lease.retry_after_s
        finally:
            state.call = None

    def _state(self, key_id: str, rate: Rate) -> _State:
        state = self._states.get(key_id)
        if state is None:
            if len(self._states) >= self._most_keys:
                self._forget_one()
            state = self._states[key_id] = _State(rate)
        elif state.rate != rate:
            state.rate, state.refused_until = rate, -math.inf
        self._states.move_to_end(key_id)
        return state

    def _forget_one(self) -> None:
        # Not one in use: a second would be made beside it, and the two would spend tokens as if they were one.
        idle = (key_id for key_id, state in self._states.items() if not state.waiting and state.call is None)
        if (key_id := next(idle, None)) is not None:
            del self._states[key_id]
