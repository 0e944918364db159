"""Counters of one proxy, in Prometheus' format and through Ray."""

import platform
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from fakescan.serve.gate.request_context import RequestContext
from fakescan.serve.outcome_header import Outcomes
from fakevlm import __version__

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Levels:
    """What a gate has at one moment."""

    ongoing: int
    """Requests let in and not answered yet."""
    buffered: int
    """Bytes of bodies in memory."""
    connections: int
    cuts: Mapping[str, int]
    """Connections refused or ended so far, by reason or status."""
    expiries: Mapping[str, datetime] = field(default_factory=dict)
    """When keys end, by their name."""
    unwritten: int = 0
    """Lines of the access log that could not be written so far."""


class GateMetrics:
    """Requests, refusals and verdicts at one proxy. Every proxy is scraped by itself."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, levels: Callable[[], Levels]) -> None:
        """`levels` is asked as often as the metrics are read."""
        self._levels = levels
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge beside every counter, which nobody asks for
        registry = self._registry = CollectorRegistry()
        self._updating = threading.Lock()
        self._cuts: dict[str, int] = {}
        self._num_unwritten = 0
        build = Gauge(
            "fakescan_serve_build_info",
            "1, with the versions as labels.",
            ["version", "python", "ray"],
            registry=registry,
        )
        build.labels(__version__, platform.python_version(), version("ray")).set(1)
        self._requests = Counter(
            "fakescan_serve_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._refused = Counter("fakescan_serve_refused", "Requests refused, by code.", ["code"], registry=registry)
        self._seconds = Histogram(
            "fakescan_serve_request_seconds", "Seconds from the headers to the end of the answer.", ["route"],
            buckets=_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._bytes = Counter("fakescan_serve_body_bytes", "Bytes of bodies read.", registry=registry)
        self._images = Counter(
            "fakescan_serve_images", "Images answered, by verdict or error.", ["outcome"], registry=registry
        )
        self._key_images = Counter(
            "fakescan_serve_key_images", "Images answered, by the name of the key.", ["key"], registry=registry
        )
        self._pixels = Counter("fakescan_serve_pixels", "Pixels of the images answered.", registry=registry)
        self._decode = Histogram(
            "fakescan_serve_decode_seconds", "Seconds until the slowest image of a request was decoded.",
            buckets=_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._judge = Histogram(
            "fakescan_serve_judge_seconds", "Seconds of the slowest image of a request in the engine and its queue.",
            buckets=_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._batch = Histogram(
            "fakescan_serve_batch_images", "Images that the engine judged together with those of a request.",
            buckets=_BATCHES, registry=registry,
        )  # fmt: skip
        self._ongoing = Gauge(
            "fakescan_serve_ongoing_requests", "Requests let in and not answered yet.", registry=registry
        )
        self._buffered = Gauge("fakescan_serve_buffered_bytes", "Bytes of bodies in memory.", registry=registry)
        self._connections = Gauge("fakescan_serve_connections", "Connections.", registry=registry)
        self._connections_cut = Counter(
            "fakescan_serve_connections_cut", "Connections refused or ended by the gate, by reason or status.",
            ["reason"], registry=registry,
        )  # fmt: skip
        self._unwritten = Counter(
            "fakescan_serve_access_log_unwritten", "Lines of the access log that could not be written.",
            registry=registry,
        )  # fmt: skip
        self._expiry = Gauge(
            "fakescan_serve_key_expiry_timestamp_seconds", "Unix time at which a key ends; only of keys that do.",
            ["key"], registry=registry,
        )  # fmt: skip

    def count(self, context: RequestContext, seconds: float, outcomes: Outcomes | None) -> None:
        """Counts a request that has ended; status 0 is a client that disconnected."""
        self._requests.labels(context.route, str(context.status)).inc()
        self._seconds.labels(context.route).observe(seconds)
        if context.code:
            self._refused.labels(context.code).inc()
        if context.num_bytes:
            self._bytes.inc(context.num_bytes)
        if outcomes is None:
            return
        for outcome, images in outcomes.counts.items():
            self._images.labels(outcome).inc(images)
        self._key_images.labels(context.key).inc(len(outcomes.images))
        self._pixels.inc(sum(image.pixels for image in outcomes.images))
        for histogram, value in (
            (self._decode, outcomes.decode_s),
            (self._judge, outcomes.judge_s),
            (self._batch, outcomes.batch),
        ):
            if value is not None:
                histogram.observe(value)

    def text(self) -> bytes:
        """All metrics, as a scraper reads them."""
        return generate_latest(self.registry())

    def registry(self) -> CollectorRegistry:
        """All metrics, with the levels of this moment. May be called from any thread."""
        with self._updating:
            levels = self._levels()
            self._ongoing.set(levels.ongoing)
            self._buffered.set(levels.buffered)
            self._connections.set(levels.connections)
            for reason, number in levels.cuts.items():
                self._connections_cut.labels(reason).inc(number - self._cuts.get(reason, 0))
                self._cuts[reason] = number
            self._unwritten.inc(levels.unwritten - self._num_unwritten)
            self._num_unwritten = levels.unwritten
            self._expiry.clear()
            for key, end in levels.expiries.items():
                self._expiry.labels(key).set(end.timestamp())
        return self._registry
