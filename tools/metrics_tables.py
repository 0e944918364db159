"""Writes the table of our own metrics in docs/monitoring.md from their definitions: `make docs`."""

import re
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "monitoring.md"
_DEFINED_IN = (
    "fakescan.scan.metrics.scan_metrics",
    "fakescan.scan.metrics.stage_metrics",
    "fakescan.storage.transport.patient",
    "fakescan.storage.weather.trouble",
    "fakescan.engine.metrics",
    "fakescan.telemetry.train_metrics",
)
_TABLE = re.compile(r"(<!-- metrics -->\n).*?(<!-- end of metrics -->)", re.DOTALL)


def main() -> None:
    """Bring the page up to date, and say so if it was not."""
    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    text = PAGE.read_text(encoding="utf-8")
    if (fresh := with_table(text)) != text:
        PAGE.write_text(fresh, encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)} is up to date now")


def with_table(page: str) -> str:
    """The page with its table written anew."""
    rows = [
        f"| `{name}{_labels(labels)}` | {kind} | {meaning} |" for name, (kind, labels, meaning) in metrics().items()
    ]
    table = "\n".join(["", "| metric | kind | meaning |", "|---|---|---|", *rows, "", ""])
    return _TABLE.sub(lambda match: f"{match[1]}{table}{match[2]}", page)


def metrics() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Kind, labels and meaning of each of our metrics, by its name in a scrape of Ray's endpoints."""
    from fakescan.telemetry.metric import Metric

    defined = [one for module in _DEFINED_IN for one in vars(import_module(module)).values()]
    ours = {one.scraped: (one.kind, one.labels, one.meaning) for one in defined if isinstance(one, Metric)}
    return {**ours, **_of_the_gate()}


def _of_the_gate() -> dict[str, tuple[str, tuple[str, ...], str]]:
    from fakescan.serve.gate.metrics import GateMetrics, Levels

    metrics = GateMetrics(lambda: Levels(0, 0, 0, {}))
    found = {}
    for metric in metrics.registry()._collector_to_names:
        name = f"ray_{metric._name}{'_total' if metric._type == 'counter' else ''}"
        found[name] = (metric._type, metric._labelnames, metric._documentation)
    return found


def _labels(labels: tuple[str, ...]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


if __name__ == "__main__":
    main()
