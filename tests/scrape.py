"""What Prometheus would read at the metrics endpoints of the cluster that this process is connected to."""

import time
import urllib.request
from collections.abc import Callable
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_PATIENCE_S = 60.0
"""Ray takes metrics over every ten seconds."""

T = TypeVar("T")


def scraped() -> list[Sample]:
    """All samples of all nodes."""
    import ray

    samples: list[Sample] = []
    for node in ray.nodes():
        if node["Alive"] and node["MetricsExportPort"] > 0:
            samples += scrape(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics")
    return samples


def scrape(url: str) -> list[Sample]:
    """All samples at one endpoint."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def wait_for(is_there: Callable[[T], bool], look: Callable[[], T]) -> T:
    """What `look` gives once it has what is wanted."""
    deadline = time.monotonic() + _PATIENCE_S
    while not is_there(found := look()):
        assert time.monotonic() < deadline, f"not in {_PATIENCE_S:g} s: {found}"
        time.sleep(0.5)
    return found
