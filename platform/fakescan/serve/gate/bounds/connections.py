"""The connections of one proxy: how many there are, of whom, and which one goes when there are too many."""

import resource
import time
from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from fakescan.serve.gate.bounds.client_address import TrustedProxies, address_of

_SPARE_FILES = 256
"""File descriptors that are kept for all else that a process opens."""


class Activity(IntEnum):
    """What a connection is doing, in the order in which it can be done without."""

    IDLE = 0
    """No request, or headers that are incomplete."""
    UPLOADING = 1
    """A body arrives."""
    WORKING = 2
    """A request is complete, and waits for its response."""


class Connection(Protocol):
    """A connection as it is counted."""

    activity: Activity
    active_since: float
    """When that began, in seconds of `time.monotonic`."""

    def evict(self) -> None:
        """Ends the connection at once."""
        ...


class Connections:
    """Who is connected.

    Where one more would be too many, the connection that has been idle longest ends, of the same address or of that
    with the most; then one that uploads. One whose request is being worked on never does: the new one is refused then.
    So an address that keeps hundreds open locks out neither others nor the people behind the same address.
    """

    def __init__(self) -> None:
        self._groups: dict[str, dict[Connection, None]] = {}
        self._group_of: dict[Connection, str] = {}
        self._max_total = 2048
        self._max_per_address = 256
        self._proxies = TrustedProxies()
        self.refused: Counter[str] = Counter()
        """Connections that were refused or cut, by reason."""

    def __len__(self) -> int:
        return len(self._group_of)

    def limit(self, max_total: int, max_per_address: int, proxies: TrustedProxies) -> None:
        """Sets the limits for connections that come from now on; those of trusted proxies have only the total."""
        self._max_total = min(max_total, _open_files(max_total + _SPARE_FILES) - _SPARE_FILES)
        self._max_per_address = max_per_address
        self._proxies = proxies

    def add(self, connection: Connection, host: str | None) -> bool:
        """Counts a new connection; False where there is no room for it, nor any that could go."""
        group = address_of(host or "").group
        mine = self._groups.get(group, {})
        if len(mine) >= self._max_per_address and not self._proxies.trusts(host) and not self._evict([mine]):
            self.refused["address"] += 1
            return False
        if len(self) >= self._max_total and not self._evict(sorted(self._groups.values(), key=len, reverse=True)):
            self.refused["total"] += 1
            return False
        self._groups.setdefault(group, {})[connection] = None
        self._group_of[connection] = group
        return True

    def remove(self, connection: Connection) -> None:
        """A connection has ended; one that is not counted is none."""
        group = self._group_of.pop(connection, None)
        if group is not None:
            members = self._groups[group]
            del members[connection]
            if not members:
                del self._groups[group]

    def _evict(self, groups: Sequence[dict[Connection, None]]) -> bool:
        for activity in (Activity.IDLE, Activity.UPLOADING):
            for members in groups:
                candidates = [member for member in members if member.activity == activity]
                if candidates:
                    oldest = min(candidates, key=lambda member: member.active_since)
                    self.remove(oldest)
                    self.refused["evicted"] += 1
                    oldest.evict()
                    return True
        return False


def now() -> float:
    """The clock of `Connection.active_since`."""
    return time.monotonic()


def _open_files(wanted: int) -> int:
    """Files that this process may open, raised to `wanted` where the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft
