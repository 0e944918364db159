"""A Prometheus registry that Ray shows as well."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fakescan.telemetry import registry_copy
from fakescan.telemetry.registry_copy import RegistryCopy
from tests.scrape import scraped, wait_for


def registry() -> tuple[CollectorRegistry, Any, Any, Any]:
    own = CollectorRegistry()
    requests = Counter("fakescan_test_requests", "Requests.", ["status"], registry=own)
    seconds = Histogram("fakescan_test_seconds", "Seconds.", buckets=(0.1, 1), registry=own)
    ends = Gauge("fakescan_test_ends", "Ends.", ["key"], registry=own)
    return own, requests, seconds, ends


@pytest.mark.unit
def test_nothing_is_asked_for_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_copy, "is_connected", lambda: False)
    RegistryCopy(lambda: pytest.fail("nobody reads it")).copy()


@pytest.mark.cluster
def test_ray_shows_the_same_values(ray_cluster: str) -> None:
    own, requests, seconds, ends = registry()
    copy = RegistryCopy(lambda: own)
    requests.labels("200").inc(3)
    seconds.observe(0.05)
    seconds.observe(0.5)
    ends.labels("soon").set(1e9)
    copy.copy()
    requests.labels("200").inc(4)
    requests.labels("503").inc()
    seconds.observe(5)
    ends.clear()
    ends.labels("later").set(2e9)
    for _ in range(3):
        copy.copy()
    found = wait_for(lambda found: found.get(("ray_fakescan_test_requests_total", "503")) == 1, _by_label)
    assert found["ray_fakescan_test_requests_total", "200"] == 7
    buckets = {le: found["ray_fakescan_test_seconds_bucket", le] for le in ("0.1", "1.0", "+Inf")}
    assert buckets == {"0.1": 1, "1.0": 2, "+Inf": 3}
    assert found["ray_fakescan_test_seconds_count", ""] == 3
    assert found["ray_fakescan_test_seconds_sum", ""] == pytest.approx(5.55)
    assert found["ray_fakescan_test_ends", "later"] == 2e9


def _by_label() -> dict[tuple[str, str], float]:
    ours = ("status", "le", "key")
    return {
        (sample.name, next((sample.labels[label] for label in ours if label in sample.labels), "")): sample.value
        for sample in scraped()
        if sample.name.startswith("ray_fakescan_test_")
    }
