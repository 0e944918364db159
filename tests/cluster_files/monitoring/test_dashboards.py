"""The dashboards: up to date, sound JSON, every query PromQL, and every metric one that is known."""

import json
from typing import Any

import pytest

from fakescan.telemetry.metric import METRICS
from tests.cluster_files.monitoring.metric_names import NOT_HERE, expressions, names_in, of_ray
from tools.metrics_tables import PAGE, metrics, with_table
from tools.monitoring_files import BOARDS, FOLDER, files

pytestmark = pytest.mark.unit

NAMES = [board.name for board in BOARDS]


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "dashboards" / f"{name}.json").read_text())
    return loaded


def test_they_are_those_of_the_tool() -> None:
    there = {f"dashboards/{path.name}" for path in (FOLDER / "dashboards").iterdir()}
    assert there == {name for name in files() if name.startswith("dashboards/")}
    for name, text in files().items():
        assert (FOLDER / name).read_text() == text, "run `make docs`"


@pytest.mark.parametrize("name", NAMES)
def test_the_structure_is_one_that_grafana_takes(name: str) -> None:
    board = load(name)
    assert board["uid"] == f"fakescan-{name}"
    assert isinstance(board["schemaVersion"], int)
    panels = board["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("name", NAMES)
def test_a_number_is_that_of_now_and_a_line_that_of_the_time_shown(name: str) -> None:
    for panel in load(name)["panels"]:
        for target in panel.get("targets", ()):
            is_number = panel["type"] == "stat"
            assert (target["instant"], target["range"]) == (is_number, not is_number), panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_no_two_panels_have_one_title_or_one_query(name: str) -> None:
    panels = [panel for panel in load(name)["panels"] if panel["type"] != "row"]
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)


def test_every_metric_of_a_dashboard_or_rule_is_known() -> None:
    """Ours by their definitions, Ray's and vLLM's by their sources; the drill finds them in a scrape as well."""
    ours = metrics()
    for where, expression in expressions():
        for name in names_in(expression):
            base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
            if name.startswith("ray_fakescan_"):
                assert name in ours or base in ours, f"{where}: {name}"
            else:
                assert name == "up" or of_ray(name), f"{where}: {name}"


def test_every_metric_of_ours_is_in_a_dashboard_or_a_rule() -> None:
    used = {name for _, expression in expressions() for name in names_in(expression)}
    bases = used | {name.removesuffix("_bucket").removesuffix("_sum") for name in used}
    variables = {"ray_fakescan_scan_info"}
    assert not metrics().keys() - bases - variables


def test_what_cannot_be_scraped_here_has_a_reason() -> None:
    used = {name for _, expression in expressions() for name in names_in(expression)}
    assert NOT_HERE.keys() <= used
    for name in NOT_HERE:
        assert of_ray(name), name


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_table(text) == text, "run `make docs`"
    defined = {one.scraped for name, one in METRICS.items() if not name.startswith("fakescan_test_")}
    assert defined <= metrics().keys(), "tools/metrics_tables.py lacks a module"


@pytest.mark.parametrize("expression", ["sum(rate(x[5m])", "sum by run (x)", "x{a=b}", 'x{run=~"$run"} and', ""])
def test_what_is_no_promql_is_noticed(expression: str) -> None:
    with pytest.raises(ValueError, match=r"unclosed|invalid|unexpected|no expression"):
        names_in(expression)
