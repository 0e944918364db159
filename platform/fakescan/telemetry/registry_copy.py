"""Shows the metrics of a Prometheus registry through Ray as well, under the same names after Ray's prefix.

What is counted for each request stays as cheap as it is: every few seconds a thread adds what has come since. Ray has
no way to add to the buckets of a histogram, and makes histograms of its own from the middles of buckets; so `_bucket`,
`_sum` and `_count` are gauges there, with the values that the registry has.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from fakescan.telemetry.metric import count, is_connected

logger = logging.getLogger("ray.serve.fakescan")

_EVERY_S = 5.0


class RegistryCopy:
    """`update` is called before each copy; what it returns is the registry (`prometheus_client.CollectorRegistry`)."""

    def __init__(self, update: Callable[[], Any]) -> None:
        self._update = update
        self._metrics: dict[str, Any] = {}
        self._counted: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def start(self) -> None:
        """Copies from now on, until the process ends."""
        threading.Thread(target=self._run, name="registry-copy", daemon=True).start()

    def copy(self) -> None:
        """Brings Ray up to date; nothing in a process that is not connected to it."""
        if not is_connected():
            return
        for family in self._update().collect():
            for sample in family.samples:
                labels = dict(sample.labels)
                if family.type == "counter":
                    self._count(sample.name.removesuffix("_total"), family.documentation, labels, sample.value)
                else:
                    # Set each time, also to the same value: Ray forgets a gauge half a minute after it was set last.
                    self._gauge(sample.name, family.documentation, labels).set(sample.value, labels)

    def _count(self, name: str, meaning: str, labels: dict[str, str], value: float) -> None:
        from ray.util.metrics import Counter

        key = name, frozenset(labels.items())
        if value == self._counted.get(key):
            return
        if name not in self._metrics:
            self._metrics[name] = Counter(name, meaning, tuple(labels))
        count(self._metrics[name], value - self._counted.get(key, 0.0), labels)
        self._counted[key] = value

    def _gauge(self, name: str, meaning: str, labels: dict[str, str]) -> Any:
        from ray.util.metrics import Gauge

        if name not in self._metrics:
            self._metrics[name] = Gauge(name, meaning, tuple(labels))
        return self._metrics[name]

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_EVERY_S)
            try:
                self.copy()
            except Exception:
                logger.exception("metrics were not copied to Ray")
