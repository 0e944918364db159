"""Counters and gauges that Ray shows at the metrics endpoint of each node, for Prometheus to read.

A scrape has Ray's `ray_` before each name, `_total` after those of counters, and labels of Ray's beside ours, of which
`WorkerId` names the process. Ray keeps a counter for as long as its node lives, and forgets a gauge half a minute after
it was set last: so a thread sets those of this process again, until it ends. A label whose values belong to a process,
such as a run, adds no series to that; no label may have values without an end.

A process that is not connected to Ray records nothing. One call costs two or three microseconds, and the network
nothing: Ray sends what has changed every ten seconds. So record what a shard, a step or five seconds have brought, and
not each row.
"""

import sys
import threading
from typing import Any, ClassVar

METRICS: dict[str, "Metric"] = {}
"""All that the modules imported so far define, by name."""
_RENEW_S = 5.0
"""Seconds after which a gauge is set again."""


class Metric:
    """A number with a name, for each set of values of its labels. Made once, at the top of a module."""

    kind: ClassVar[str]

    def __init__(self, name: str, meaning: str, *labels: str) -> None:
        assert name.startswith("fakescan_")
        assert name not in METRICS
        self.name, self.meaning, self.labels = name, meaning, labels
        self._exported: Any = None
        METRICS[name] = self

    @property
    def scraped(self) -> str:
        """Its name in a scrape."""
        return f"ray_{self.name}"

    def _of_ray(self) -> Any:
        """Ray's metric; None in a process that is not connected to Ray."""
        if not is_connected():
            return None
        if self._exported is None:
            from ray.util import metrics

            kind = metrics.Counter if self.kind == "counter" else metrics.Gauge
            self._exported = kind(self.name, self.meaning, self.labels)
        return self._exported


class Counter(Metric):
    """A sum that only grows."""

    kind = "counter"

    @property
    def scraped(self) -> str:
        """Its name in a scrape."""
        return f"ray_{self.name}_total"

    def start(self, **labels: str) -> None:
        """Show it as 0, so that whoever watches it sees the first thing that is counted as an increase."""
        if (exported := self._of_ray()) is not None:
            count(exported, 0.0, labels)

    def add(self, value: float, **labels: str) -> None:
        """Count so much more; nothing for 0 and less."""
        if value > 0 and (exported := self._of_ray()) is not None:
            count(exported, float(value), labels)


class Gauge(Metric):
    """A level: the last value set, for as long as this process lives or until `forget` is called."""

    kind = "gauge"

    def set(self, value: float, **labels: str) -> None:
        """It is so much now."""
        if (exported := self._of_ray()) is not None:
            exported.set(float(value), labels)
            _levels.keep(exported, float(value), labels)


class _Levels:
    """What the gauges of this process are at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, frozenset[tuple[str, str]]], tuple[Any, float, dict[str, str]]] = {}
        self._thread: threading.Thread | None = None

    def keep(self, exported: Any, value: float, labels: dict[str, str]) -> None:
        """Set it again every few seconds."""
        with self._lock:
            self._kept[exported.info["name"], frozenset(labels.items())] = exported, value, labels
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew, name="gauges", daemon=True)
                self._thread.start()

    def forget(self, labels: dict[str, str]) -> None:
        """Set none again that has all these labels."""
        with self._lock:
            for key in [key for key in self._kept if labels.items() <= key[1]]:
                del self._kept[key]

    def renew(self) -> None:
        """Set all again."""
        with self._lock:
            if not is_connected():
                self._kept.clear()  # a later connection is to another cluster
            for exported, value, labels in self._kept.values():
                exported.set(value, labels)

    def _renew(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_RENEW_S)
            self.renew()


_levels = _Levels()


def forget(**labels: str) -> None:
    """From now on this process shows no gauge that has these labels; what is shown already goes in half a minute."""
    _levels.forget(labels)


def count(exported: Any, value: float, labels: dict[str, str]) -> None:
    """Add to a counter of Ray's, whose own `inc` refuses 0."""
    exported._record(value, labels)


def is_connected() -> bool:
    """Whether this process is connected to Ray; does not import it."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())
