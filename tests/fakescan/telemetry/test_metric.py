"""Metrics: nothing without Ray, and with it at the node's endpoint."""

import subprocess
import sys
from typing import ClassVar

import pytest

from fakescan.telemetry import metric
from fakescan.telemetry.metric import METRICS, Counter, Gauge, is_connected
from tests.scrape import scraped, wait_for

PARTS = Counter("fakescan_test_parts", "Parts of a test.", "run")
LEFT = Gauge("fakescan_test_left", "Rows left in a test.", "run")


@pytest.mark.unit
def test_a_process_without_ray_records_nothing_and_does_not_import_it() -> None:
    code = (
        "import sys; from fakescan.telemetry.metric import Counter\n"
        "Counter('fakescan_test_alone', 'Nothing.', 'run').add(1, run='a')\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.unit
def test_names_are_plain_and_made_once() -> None:
    assert (PARTS.scraped, LEFT.scraped) == ("ray_fakescan_test_parts_total", "ray_fakescan_test_left")
    assert METRICS["fakescan_test_left"] is LEFT
    with pytest.raises(AssertionError):
        Gauge("fakescan_test_left", "A second one.")


@pytest.mark.unit
def test_gauges_are_set_again_until_they_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray forgets one half a minute after it was set."""

    class Exported:
        info: ClassVar = {"name": "fakescan_test_kept"}

        def __init__(self) -> None:
            self.told: list[tuple[float, str]] = []

        def set(self, value: float, labels: dict[str, str]) -> None:
            self.told.append((value, labels["run"]))

    monkeypatch.setattr(metric, "is_connected", lambda: True)
    monkeypatch.setattr(metric, "_RENEW_S", 3600.0)
    exported, levels = Exported(), metric._Levels()
    levels.keep(exported, 1.0, {"run": "a", "stage": "x"})
    levels.keep(exported, 2.0, {"run": "a", "stage": "x"})
    levels.keep(exported, 3.0, {"run": "b", "stage": "x"})
    levels.renew()
    assert exported.told == [(2.0, "a"), (3.0, "b")]
    levels.forget({"run": "a"})
    levels.renew()
    assert exported.told[2:] == [(3.0, "b")]
    monkeypatch.setattr(metric, "is_connected", lambda: False)
    levels.renew()
    monkeypatch.setattr(metric, "is_connected", lambda: True)
    levels.renew()
    assert len(exported.told) == 3, "another cluster is told nothing of what this one was"


@pytest.mark.cluster
def test_what_is_recorded_is_at_the_endpoint(ray_cluster: str) -> None:
    assert is_connected()
    PARTS.start(run="none")
    PARTS.add(0, run="a")
    PARTS.add(2, run="a")
    PARTS.add(3, run="a")
    LEFT.set(7, run="a")
    LEFT.set(5, run="a")
    found = wait_for(lambda found: (PARTS.scraped, "a") in found and (LEFT.scraped, "a") in found, _by_run)
    assert found[PARTS.scraped, "none"] == 0.0
    assert (found[PARTS.scraped, "a"], found[LEFT.scraped, "a"]) == (5.0, 5.0)


def _by_run() -> dict[tuple[str, str], float]:
    return {(sample.name, sample.labels["run"]): sample.value for sample in scraped() if "run" in sample.labels}
