"""Counters of one proxy, in Prometheus' format."""

from collections.abc import Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_ROUTES = frozenset(
    {"/", "/healthz", "/readyz", "/metrics", "/openapi.json"}
    | {"/v1/detect", "/v1/chat/completions", "/v1/models", "/v1/about", "/v1/scans"}
)
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class GateMetrics:
    """Requests, refusals and verdicts at one proxy. Every proxy is scraped by itself."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "fakescan_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._refused = Counter(
            "fakescan_refused", "Requests refused by the gate, by code.", ["code"], registry=registry
        )
        self._seconds = Histogram(
            "fakescan_request_seconds", "Seconds from the headers to the end of the answer.", ["route"],
            buckets=_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._bytes = Counter("fakescan_body_bytes", "Bytes of bodies read.", registry=registry)
        self._images = Counter(
            "fakescan_images", "Images answered, by verdict or error.", ["outcome"], registry=registry
        )
        self._ongoing = Gauge("fakescan_ongoing_requests", "Requests let in and not answered yet.", registry=registry)
        self._buffered = Gauge("fakescan_buffered_bytes", "Bytes of bodies in memory.", registry=registry)

    def count(
        self, path: str, status: int, code: str, seconds: float, num_bytes: int, outcomes: Mapping[str, int]
    ) -> None:
        """Counts a request that has ended; status 0 is a client that disconnected."""
        route = path if path in _ROUTES else "/v1/scans" if path.startswith("/v1/scans/") else "other"
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if code:
            self._refused.labels(code).inc()
        if num_bytes:
            self._bytes.inc(num_bytes)
        for outcome, images in outcomes.items():
            self._images.labels(outcome).inc(images)

    def text(self, ongoing: int, buffered: int) -> bytes:
        """All metrics, as a scraper reads them."""
        self._ongoing.set(ongoing)
        self._buffered.set(buffered)
        return generate_latest(self._registry)
