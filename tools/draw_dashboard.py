"""Draws a dashboard of cluster/monitoring without Grafana: each panel's queries, answered by a Prometheus.

    python tools/draw_dashboard.py scan --prometheus http://localhost:9090 --minutes 10 -o scan.png

To see what a dashboard shows, and which of its panels are empty, where there is no Grafana. It says the latter on
standard output, and exits with 1 if a query is refused.
"""

import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).resolve().parents[1] / "cluster" / "monitoring" / "dashboards"
_CELL_IN = (0.75, 0.42)
"""Inches of a cell of the grid, which has 24 columns."""
_POINTS = 240
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

Series = list[tuple[str, list[tuple[float, float]]]]


def main() -> int:
    """Draw the picture; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("board", choices=sorted(path.stem for path in FOLDER.glob("*.json")))
    parser.add_argument("--prometheus", default="http://localhost:9090", metavar="URL")
    parser.add_argument("--minutes", type=float, default=15, help="up to now (default: 15)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".png or .svg")
    settings = parser.parse_args()
    end = time.time()
    start = end - 60 * settings.minutes
    panels = json.loads((FOLDER / f"{settings.board}.json").read_text(encoding="utf-8"))["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(24 * _CELL_IN[0], height * _CELL_IN[1]), dpi=70)
    refused = 0
    for panel in panels:
        axes = _axes(figure, panel["gridPos"], height)
        if panel["type"] == "row":
            axes.axis("off")
            axes.text(0, 0.3, panel["title"], fontsize=13, weight="bold")
            continue
        series: Series = []
        for target in panel["targets"]:
            try:
                series += _answers(settings.prometheus, target, start, end)
            except ValueError as error:
                refused += 1
                print(f"{panel['title']}: {error}")
        if not series:
            print(f"{panel['title']}: no data")
        (_draw_number if panel["type"] == "stat" else _draw_lines)(axes, panel, series, start, end)
    figure.savefig(settings.output)
    return 1 if refused else 0


def _axes(figure: Any, place: dict[str, int], height: int) -> Any:
    title, ticks = 0.9 if place["h"] > 1 else 0.0, 1.7 if place["h"] > 4 else 0.2
    left, width = (place["x"] + 1.1) / 24, (place["w"] - 1.5) / 24
    bottom = 1 - (place["y"] + place["h"] - ticks) / height
    return figure.add_axes((left, bottom, width, max(place["h"] - title - ticks, 0.5) / height))


def _answers(prometheus: str, target: dict[str, Any], start: float, end: float) -> Series:
    """The series that a query gives, with their legends. Raises ValueError when it is refused."""
    step = max((end - start) / _POINTS, 5)
    start = end if target.get("instant") else start
    query = target["expr"].replace("$__rate_interval", "1m").replace("$cluster", ".*").replace("$run", ".*")
    arguments = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": step})
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{arguments}", timeout=60) as answer:
            result = json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise ValueError(f"{query}: {error.read().decode()}") from None
    found = []
    for one in result:
        labels = one["metric"]
        legend = _legend(target.get("legendFormat", ""), labels)
        points = [(at, float(value)) for at, value in one["values"] if value not in ("NaN", "+Inf", "-Inf")]
        if points:
            found.append((legend, points))
    return found


def _legend(pattern: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), pattern)


def _draw_number(axes: Any, panel: dict[str, Any], series: Series, start: float, end: float) -> None:
    axes.axis("off")
    axes.set_title(panel["title"], fontsize=9, loc="left")
    text = _in_unit(series[0][1][-1][1], _unit(panel)) if series else "No data"
    axes.text(0.5, 0.4, text, fontsize=22, ha="center", va="center", color="C0" if series else "0.6")


def _draw_lines(axes: Any, panel: dict[str, Any], series: Series, start: float, end: float) -> None:
    axes.set_title(panel["title"], fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    axes.set_xlim(start, end)
    axes.xaxis.set_major_formatter(lambda at, _: f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}")
    axes.xaxis.set_major_locator(plt.MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda value, _: _in_unit(value, _unit(panel)))
    if not series:
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", color="0.6")
        return
    if "stacking" in panel["fieldConfig"]["defaults"].get("custom", {}):
        times = sorted({at for _, points in series for at, _ in points})
        rows = [[dict(points).get(at, 0.0) for at in times] for _, points in series]
        axes.stackplot(times, rows, labels=[legend for legend, _ in series], alpha=0.6)
    else:
        for legend, points in series:
            axes.plot([at for at, _ in points], [value for _, value in points], label=legend, linewidth=1.2)
    highest = panel["fieldConfig"]["defaults"].get("max") or axes.dataLim.y1
    axes.set_ylim(0, 1.2 * highest or 1)  # room for the legend, and for lines that run along the top
    if any(legend for legend, _ in series):
        axes.legend(fontsize=6.5, ncols=3, loc="upper left", framealpha=0.5)


def _unit(panel: dict[str, Any]) -> str:
    return str(panel["fieldConfig"]["defaults"].get("unit", "short"))


def _in_unit(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s" and abs(value) >= 120:
        return f"{value / 60:.3g} min" if abs(value) < 7200 else f"{value / 3600:.3g} h"
    ending = {"s": " s", "percent": " %", "bytes": "B", "Bps": "B/s", "reqps": "/s"}.get(unit, "")
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{ending}"
    return f"{value:.3g}{ending}"


if __name__ == "__main__":
    sys.exit(main())
