"""The queries of dashboards and rules, and the metrics that they name."""

import functools
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import yaml

FOLDER = Path(__file__).parents[3] / "cluster" / "monitoring"

NOT_HERE = {
    "ray_node_gpus_utilization": "only where there is a GPU",
    "ray_memory_manager_worker_eviction_total": "only once Ray has ended a process for want of memory",
}
"""Metrics that no scrape on a machine without a GPU and with enough memory has; they are looked up in Ray itself."""

_VARIABLES = {"$__rate_interval": "5m", "$cluster": ".*", "$run": ".*"}


def expressions() -> Iterator[tuple[str, str]]:
    """Each query with where it is."""
    for path in sorted((FOLDER / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.stem}: {panel['title']}", target["expr"]
    for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def with_values(expression: str) -> str:
    """A query of a dashboard as Grafana sends it when everything is chosen."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def names_in(expression: str) -> set[str]:
    """The metrics that a query names. Raises ValueError for one that is no PromQL."""
    parsed = promql_parser.parse(with_values(expression))
    return set(_names(parsed))


def _names(node: object) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name or ""
    for part in ("expr", "lhs", "rhs", "vector_selector", "args", "vs"):
        inner = getattr(node, part, None)
        for one in inner if isinstance(inner, list) else [inner]:
            if one is not None and not isinstance(one, str):
                yield from _names(one)


def of_ray(name: str) -> bool:
    """Whether Ray's or vLLM's own sources define the metric."""
    base = re.sub(r"_(total|bucket|sum|count)$", "", name.removeprefix("ray_"))
    vllm = base.removeprefix("vllm_")
    return any(f'"{one}"' in _sources() for one in (base, f"vllm:{vllm}", base.removeprefix("serve_")))


@functools.cache
def _sources() -> str:
    """Where Ray and vLLM define metrics, and where Ray's own dashboards name those of its core, which is compiled."""
    texts = []
    for package, globs in (
        ("ray", ("dashboard/modules/reporter/reporter_agent.py", "dashboard/modules/metrics/dashboards/*.py")),
        ("ray", ("serve/_private/*.py",)),
        ("vllm", ("v1/metrics/loggers.py",)),
    ):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        for glob in globs:
            for path in Path(spec.origin).parent.glob(glob):
                text = path.read_text(encoding="utf-8")
                texts += [text, *(f'"{named}"' for named in re.findall(r"\bray_([a-z_]+?)(?:_total)?\b", text))]
    return "\n".join(texts)
