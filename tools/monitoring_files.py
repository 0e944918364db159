"""Writes what Grafana and the Prometheus operator read in cluster/monitoring: `make docs`.

The dashboards are made of the panels below; prometheusrule.yaml is rules.yaml as an object of Kubernetes.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos, VariableRefresh

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "cluster" / "monitoring"

_COLUMNS = 24
_RATE = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """One picture: queries with their legends, the unit of the values, and what it tells."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    """Expressions in PromQL, and legends."""
    tells: str
    is_stacked: bool = False
    is_number: bool = False
    """Whether it shows the latest value in large type."""
    max: float | None = None


@dataclass(frozen=True)
class Row:
    """Panels below a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """One dashboard. `run` names the metric whose values of `run` can be chosen."""

    name: str
    title: str
    run: str | None
    rows: Sequence[Row]


def main() -> None:
    """Bring the files up to date, and name those that were not."""
    for name, text in files().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} is up to date now")


def files() -> dict[str, str]:
    """The text of each file, by its name below cluster/monitoring."""
    boards = {f"dashboards/{board.name}.json": _dashboard(board) for board in BOARDS}
    return {**boards, "prometheusrule.yaml": _prometheus_rule()}


def _rate(metric: str, labels: str = "", by: str = "") -> str:
    return f"{_sum(by)}(rate({metric}{{{_where(labels)}}}[{_RATE}]))"


def _level(metric: str, labels: str = "", by: str = "", function: str = "sum") -> str:
    return f"{_sum(by, function)}({metric}{{{_where(labels)}}})"


def _lately(metric: str, labels: str, by: str = "") -> str:
    return f"{_sum(by)}(increase({metric}{{{_where(labels)}}}[10m]))"


def _since(metric: str, by: str = "") -> str:
    return f"time() - {_level(metric, _RUN, by, 'max')}"


def _sum(by: str, function: str = "sum") -> str:
    return f"{function} by ({by}) " if by else function


def _where(labels: str) -> str:
    return ", ".join(filter(None, ('SessionName=~"$cluster"', labels)))


def _quantile(quantile: float, metric: str, labels: str = "") -> str:
    return f"histogram_quantile({quantile}, {_rate(f'{metric}_bucket', labels, 'le')})"


_RUN = 'run=~"$run"'
_ERRORS = f'{_RUN}, outcome!~"real|fake|uncertain"'
_OURS, _TOO_MANY = 'status=~"5.."', 'status="429"'
_SCANS = f'{_RUN}, run!="serve"'
_SCORES = f'{_RUN}, metric!="eval_samples"'
_WORKING = f'{_RUN}, state="working"'
_NOT_WAITING = f'{_RUN}, stage!="waiting"'
_JUDGES = 'route=~"/v1/(detect|chat/completions|responses)"'

_IMAGES_A_SECOND = _rate("ray_fakescan_scan_rows_total", _RUN)

_CLUSTER = Row(
    "Cluster",
    [
        Panel(
            "GPU use",
            "percent",
            [
                (
                    _level("ray_node_gpus_utilization", by="instance, GpuIndex", function="avg"),
                    "{{instance}} {{GpuIndex}}",
                )
            ],
            "How busy each GPU is. Below 20 while a scan runs, its engine loads, starves or is gone.",
            max=100,
        ),
        Panel(
            "CPU use",
            "percent",
            [(_level("ray_node_cpu_utilization", by="instance", function="avg"), "{{instance}}")],
            "How busy the CPUs of each node are. At 100, images are decoded as fast as they can be here.",
            max=100,
        ),
        Panel(
            "Memory",
            "bytes",
            [
                (_level("ray_node_mem_used", by="instance"), "{{instance}}"),
                (
                    f"{_level('ray_memory_manager_worker_eviction_total', by='instance')}",
                    "processes ended on {{instance}}",
                ),
            ],
            "Memory used on each node; and how many processes Ray has ended for want of it, where there were any.",
        ),
        Panel(
            "Object store",
            "bytes",
            [(_level("ray_object_store_memory", by="Location"), "{{Location}}")],
            "Bytes in Ray's object stores; SPILLED is on disks, because memory was full.",
            is_stacked=True,
        ),
        Panel(
            "Disk left",
            "percentunit",
            [
                (
                    f"{_level('ray_node_disk_free', by='instance')} / ({_level('ray_node_disk_free', by='instance')}"
                    f" + {_level('ray_node_disk_usage', by='instance')})",
                    "{{instance}}",
                )
            ],
            "Share of each node's disk that is free. Below a twentieth Ray makes no more objects.",
            max=1,
        ),
    ],
)

_VLLM = Row(
    "vLLM",
    [
        Panel(
            "Requests in vLLM",
            "short",
            [
                (_level("ray_vllm_num_requests_running"), "running"),
                (_level("ray_vllm_num_requests_waiting"), "waiting"),
            ],
            "Requests in the engines that have a process of their own: running, and waiting for a place.",
        ),
        Panel(
            "Tokens",
            "short",
            [
                (_rate("ray_vllm_prompt_tokens_total"), "read each second"),
                (_rate("ray_vllm_generation_tokens_total"), "written each second"),
            ],
            "An image is about 600 tokens that are read; an explanation is up to 256 that are written.",
        ),
        Panel(
            "KV cache",
            "percentunit",
            [(_level("ray_vllm_kv_cache_usage_perc", by="instance", function="max"), "{{instance}}")],
            "Share of the cache in use. At 1, requests wait for room in memory.",
            max=1,
        ),
    ],
)

SCAN = Board(
    "scan",
    "fakescan: scan",
    "ray_fakescan_scan_info",
    [
        Row(
            "Now",
            [
                Panel(
                    "Images a second",
                    "short",
                    [(_rate("ray_fakescan_scan_rows_total", _RUN), "")],
                    "Rows written a second, errors included.",
                    is_number=True,
                ),
                Panel(
                    "Rows left",
                    "short",
                    [(_level("ray_fakescan_scan_rows_left", _RUN), "")],
                    "Rows that have no part yet.",
                    is_number=True,
                ),
                Panel(
                    "Time left",
                    "s",
                    [
                        (
                            f"{_level('ray_fakescan_scan_rows_left', _RUN)} / {_IMAGES_A_SECOND}",
                            "",
                        )
                    ],
                    "At the present pace.",
                    is_number=True,
                ),
                Panel(
                    "Errors",
                    "percentunit",
                    [
                        (
                            f"({_rate('ray_fakescan_scan_rows_total', _ERRORS)} or vector(0))"
                            f" / {_rate('ray_fakescan_scan_rows_total', _RUN)}",
                            "",
                        )
                    ],
                    "Share of the rows that end in an error.",
                    is_number=True,
                ),
                Panel(
                    "Engines at work",
                    "short",
                    [(_level("ray_fakescan_scan_engines", _WORKING), "")],
                    "Engines that are loaded and alive.",
                    is_number=True,
                ),
                Panel(
                    "Longest wait",
                    "s",
                    [(_level("ray_fakescan_scan_store_wait_seconds", _RUN, function="max"), "")],
                    "For a store that does not answer.",
                    is_number=True,
                ),
            ],
        ),
        Row(
            "Rows",
            [
                Panel(
                    "Images a second by run",
                    "short",
                    [(_rate("ray_fakescan_scan_rows_total", _RUN, "run"), "{{run}}")],
                    "Rows written a second.",
                ),
                Panel(
                    "Rows by outcome",
                    "short",
                    [(f"{_rate('ray_fakescan_scan_rows_total', _RUN, 'outcome')} > 0", "{{outcome}}")],
                    "Rows a second by verdict or error code.",
                    is_stacked=True,
                ),
                Panel(
                    "Progress",
                    "percentunit",
                    [
                        (
                            f"1 - {_level('ray_fakescan_scan_rows_left', _RUN, 'run')}"
                            f" / {_level('ray_fakescan_scan_run_rows', _RUN, 'run')}",
                            "{{run}}",
                        )
                    ],
                    "Share of the run's rows that are done.",
                    max=1,
                ),
                Panel(
                    "Bytes",
                    "Bps",
                    [
                        (_rate("ray_fakescan_scan_fetched_bytes_total", _RUN), "images read"),
                        (_rate("ray_fakescan_scan_part_bytes_total", _RUN), "parts written"),
                    ],
                    "Bytes a second from the source and to the output.",
                ),
                Panel(
                    "Parts and copies",
                    "short",
                    [
                        (_rate("ray_fakescan_scan_parts_total", _RUN), "parts"),
                        (_rate("ray_fakescan_scan_copies_total", _RUN), "rows with another's judgement"),
                    ],
                    "Parts written a second, and rows that were not judged again (--dedupe).",
                ),
                Panel(
                    "Stability strip",
                    "short",
                    [
                        (_rate("ray_fakescan_scan_strip_prefills_total", _RUN), "variants judged"),
                        (_rate("ray_fakescan_scan_strip_failures_total", _RUN), "variants that could not be"),
                        (_rate("ray_fakescan_scan_strip_rows_total", _RUN), "images looked at again"),
                        (_rate("ray_fakescan_scan_strip_changes_total", _RUN), "verdicts that do not hold"),
                    ],
                    "A second, with --stability.",
                ),
                Panel(
                    "Since the latest part",
                    "s",
                    [
                        (
                            _since("ray_fakescan_scan_last_part_timestamp_seconds", "run"),
                            "{{run}}",
                        )
                    ],
                    "Seconds without a part. Grows while the scan waits.",
                ),
            ],
        ),
        Row(
            "Stages",
            [
                Panel(
                    "Shards by where they are",
                    "short",
                    [(_level("ray_fakescan_scan_shards", _NOT_WAITING, "stage"), "{{stage}}")],
                    "feed: fetched and decoded; decoded: waiting for an engine; judge: in an engine, or being written.",
                    is_stacked=True,
                ),
                Panel(
                    "Shards in each stage on average",
                    "short",
                    [(_rate("ray_fakescan_scan_stage_seconds_total", _RUN, "stage"), "{{stage}}")],
                    "How many are in it at once. decode as high as there are CPUs: too few of them; fetch: the store.",
                ),
                Panel(
                    "Seconds that a shard takes",
                    "s",
                    [
                        (
                            f"{_rate('ray_fakescan_scan_stage_seconds_total', _RUN, 'stage')}"
                            f" / {_rate('ray_fakescan_scan_stage_shards_total', _RUN, 'stage')}",
                            "{{stage}}",
                        )
                    ],
                    "On average, waiting for turns included.",
                ),
                Panel(
                    "Waits",
                    "s",
                    [
                        (_level("ray_fakescan_scan_store_wait_seconds", _RUN, "run", "max"), "{{run}}: a store"),
                        (_level("ray_fakescan_scan_engine_wait_seconds", _RUN, "run", "max"), "{{run}}: an engine"),
                    ],
                    "For how long a store, or the first engine to come, has been waited for.",
                ),
                Panel(
                    "Store faults",
                    "reqps",
                    [(_rate("ray_fakescan_store_faults_total", by="kind"), "{{kind}}")],
                    "Requests a second that failed by no fault of their object, and are sent again.",
                ),
                Panel(
                    "Requests that a process may have in flight",
                    "short",
                    [
                        (_level("ray_fakescan_store_request_limit", by="instance"), "{{instance}}"),
                        (_level("ray_fakescan_scan_stores_waited", _RUN), "stores waited for"),
                    ],
                    "To stores that throttle or fail, all processes of a node together; 0 where nothing is limited.",
                ),
            ],
        ),
        Row(
            "Engines",
            [
                Panel(
                    "Requests in engines",
                    "short",
                    [
                        (_level("ray_fakescan_engine_requests", _SCANS), "running"),
                        (_level("ray_fakescan_engine_max_requests", _SCANS), "could run"),
                    ],
                    "Far apart while shards wait: the engines starve.",
                ),
                Panel(
                    "Engines",
                    "short",
                    [
                        (_level("ray_fakescan_scan_engines", _RUN, "state"), "{{state}}"),
                        (_level("ray_fakescan_scan_shunned_nodes", _RUN), "nodes that get no more"),
                    ],
                    "Engines by state. lost: silent, or without a process.",
                ),
                Panel(
                    "Engines lost by reason",
                    "short",
                    [
                        (
                            _lately("ray_fakescan_scan_engine_failures_total", _RUN, "reason"),
                            "{{reason}}",
                        ),
                        (
                            _lately("ray_fakescan_scan_engine_restarts_total", _RUN),
                            "started again",
                        ),
                    ],
                    "In ten minutes. gone: its process ended without a word, as when memory or its node is lost.",
                ),
                Panel(
                    "Steps of engines",
                    "short",
                    [
                        (_rate("ray_fakescan_engine_steps_total", _SCANS), "steps a second"),
                        (_rate("ray_fakescan_engine_busy_seconds_total", _SCANS), "engines in a step"),
                    ],
                    "Steps a second; of vLLM in its own process, requests that end.",
                ),
            ],
        ),
        _VLLM,
        _CLUSTER,
    ],
)

TRAIN = Board(
    "train",
    "fakescan: train",
    "ray_fakescan_train_running",
    [
        Row(
            "Now",
            [
                Panel(
                    "Progress",
                    "percentunit",
                    [(f"{_level('ray_fakescan_train_step', _RUN)} / {_level('ray_fakescan_train_steps', _RUN)}", "")],
                    "Steps made, of all.",
                    is_number=True,
                ),
                Panel(
                    "Epoch",
                    "short",
                    [(_level("ray_fakescan_train_epoch", _RUN, function="max"), "")],
                    "Epochs made.",
                    is_number=True,
                ),
                Panel(
                    "Samples a second",
                    "short",
                    [(_rate("ray_fakescan_train_samples_total", _RUN), "")],
                    "All workers together.",
                    is_number=True,
                ),
                Panel(
                    "Since the latest step",
                    "s",
                    [
                        (
                            _since("ray_fakescan_train_last_step_timestamp_seconds"),
                            "",
                        )
                    ],
                    "Grows once it has ended.",
                    is_number=True,
                ),
                Panel(
                    "Since the latest checkpoint",
                    "s",
                    [
                        (
                            _since("ray_fakescan_train_last_checkpoint_timestamp_seconds"),
                            "",
                        )
                    ],
                    "What a fault would cost now.",
                    is_number=True,
                ),
                Panel(
                    "Running",
                    "short",
                    [(_level("ray_fakescan_train_running", _RUN), "")],
                    "Trainings that run.",
                    is_number=True,
                ),
            ],
        ),
        Row(
            "Learning",
            [
                Panel(
                    "Loss",
                    "short",
                    [(_level("ray_fakescan_train_loss", _RUN, "run", "max"), "{{run}}")],
                    "Mean over the answer tokens of a step, in nats.",
                ),
                Panel(
                    "Learning rate",
                    "sci",
                    [(_level("ray_fakescan_train_learning_rate", _RUN, "run", "max"), "{{run}}")],
                    "Of the first group of weights.",
                ),
                Panel(
                    "Gradient norm",
                    "short",
                    [(_level("ray_fakescan_train_grad_norm", _RUN, "run", "max"), "{{run}}")],
                    "Before clipping. Peaks come before a loss that grows.",
                ),
                Panel(
                    "Evaluation",
                    "short",
                    [(_level("ray_fakescan_train_evaluation", _SCORES, "run, metric", "max"), "{{run}}: {{metric}}")],
                    "Results of the latest evaluation.",
                ),
                Panel(
                    "Samples a second by run",
                    "short",
                    [(_rate("ray_fakescan_train_samples_total", _RUN, "run"), "{{run}}")],
                    "Steps that were made again after a fault count again.",
                ),
                Panel(
                    "Checkpoints",
                    "short",
                    [
                        (_level("ray_fakescan_train_checkpoints_total", _RUN), "written"),
                        (
                            _level("ray_fakescan_train_checkpoint_seconds", _RUN, function="max"),
                            "seconds of the latest",
                        ),
                        (_level("ray_fakescan_train_restarts_total", _RUN), "restarts of the workers"),
                    ],
                    "Checkpoints written, how long one takes, and how often the workers were started again.",
                ),
            ],
        ),
        _CLUSTER,
    ],
)

_REQUESTS = "ray_fakescan_serve_requests_total"
_BATCH = "ray_fakescan_serve_batch_images"

SERVE = Board(
    "serve",
    "fakescan: serve",
    None,
    [
        Row(
            "Now",
            [
                Panel("Requests a second", "reqps", [(_rate(_REQUESTS), "")], "All routes.", is_number=True),
                Panel(
                    "Errors of ours",
                    "percentunit",
                    [(f"({_rate(_REQUESTS, _OURS)} or vector(0)) / {_rate(_REQUESTS)}", "")],
                    "Share of the answers with a status of 500 and more.",
                    is_number=True,
                ),
                Panel(
                    "Refused for rate",
                    "percentunit",
                    [(f"({_rate(_REQUESTS, _TOO_MANY)} or vector(0)) / {_rate(_REQUESTS)}", "")],
                    "Share of the answers with the status 429.",
                    is_number=True,
                ),
                Panel(
                    "Slowest of twenty",
                    "s",
                    [(_quantile(0.95, "ray_fakescan_serve_request_seconds", _JUDGES), "")],
                    "Nineteen of twenty verdicts are faster.",
                    is_number=True,
                ),
                Panel(
                    "Healthy replicas",
                    "short",
                    [(_level("ray_serve_deployment_replica_healthy", 'deployment="Detector"'), "")],
                    "Replicas whose engine takes requests.",
                    is_number=True,
                ),
                Panel(
                    "In flight",
                    "short",
                    [(_level("ray_fakescan_serve_ongoing_requests"), "")],
                    "Requests let in and not answered yet.",
                    is_number=True,
                ),
            ],
        ),
        Row(
            "Requests",
            [
                Panel(
                    "Requests by status",
                    "reqps",
                    [(_rate(_REQUESTS, by="status"), "{{status}}")],
                    "0 is a client that left.",
                    is_stacked=True,
                ),
                Panel(
                    "Time to an answer",
                    "s",
                    [
                        (_quantile(quantile, "ray_fakescan_serve_request_seconds", _JUDGES), words)
                        for quantile, words in ((0.5, "half"), (0.95, "19 of 20"), (0.99, "99 of 100"))
                    ],
                    "From the headers to the end of the answer, of requests with images.",
                ),
                Panel(
                    "Refusals by code",
                    "reqps",
                    [(_rate("ray_fakescan_serve_refused_total", by="code"), "{{code}}")],
                    "See docs/serve.md for each code.",
                ),
                Panel(
                    "Requests by route", "reqps", [(_rate(_REQUESTS, by="route"), "{{route}}")], "Requests a second."
                ),
            ],
        ),
        Row(
            "Images",
            [
                Panel(
                    "Images by outcome",
                    "short",
                    [(_rate("ray_fakescan_serve_images_total", by="outcome"), "{{outcome}}")],
                    "Images a second by verdict or error.",
                    is_stacked=True,
                ),
                Panel(
                    "Images by key",
                    "short",
                    [(_rate("ray_fakescan_serve_key_images_total", by="key"), "{{key}}")],
                    "Who sends them.",
                    is_stacked=True,
                ),
                Panel(
                    "Where the time goes",
                    "s",
                    [
                        (_quantile(0.95, "ray_fakescan_serve_decode_seconds"), "decoding, 19 of 20"),
                        (_quantile(0.95, "ray_fakescan_serve_judge_seconds"), "judging, 19 of 20"),
                    ],
                    "Of the slowest image of a request, waiting for its turn included.",
                ),
                Panel(
                    "Images judged together",
                    "short",
                    [
                        (
                            f"{_rate(f'{_BATCH}_sum')} / {_rate(f'{_BATCH}_count')}",
                            "on average",
                        ),
                        (_level("ray_fakescan_engine_requests", 'run="serve"'), "in the engines"),
                        (_level("ray_fakescan_engine_max_requests", 'run="serve"'), "could be"),
                    ],
                    "The engine's batch.",
                ),
                Panel(
                    "Pixels",
                    "short",
                    [(_rate("ray_fakescan_serve_pixels_total"), "pixels a second")],
                    "What decoding costs goes with them.",
                ),
            ],
        ),
        Row(
            "Queue and connections",
            [
                Panel(
                    "Queue",
                    "short",
                    [
                        (_level("ray_serve_deployment_queued_queries", by="deployment"), "{{deployment}}: waiting"),
                        (_level("ray_fakescan_serve_ongoing_requests"), "in flight at the gates"),
                    ],
                    "Requests that wait for a replica, and all that were let in.",
                ),
                Panel(
                    "Replicas",
                    "short",
                    [(_level("ray_serve_deployment_replica_healthy", by="deployment"), "{{deployment}}")],
                    "Healthy replicas of each deployment.",
                ),
                Panel(
                    "Connections",
                    "short",
                    [
                        (_level("ray_fakescan_serve_connections"), "open"),
                        (_rate("ray_fakescan_serve_connections_cut_total", by="reason"), "cut a second: {{reason}}"),
                    ],
                    "Connections to the gates, and those refused or ended.",
                ),
                Panel(
                    "Access log",
                    "short",
                    [(_rate("ray_fakescan_serve_access_log_unwritten_total"), "lines lost a second")],
                    "Lines of the access log that could not be written: look at the disk.",
                ),
                Panel(
                    "Bodies",
                    "bytes",
                    [
                        (_level("ray_fakescan_serve_buffered_bytes"), "in memory"),
                        (_rate("ray_fakescan_serve_body_bytes_total"), "read each second"),
                    ],
                    "Bytes of request bodies at the gates.",
                ),
                Panel(
                    "Keys end in",
                    "s",
                    [
                        (
                            "(max by (key) (ray_fakescan_serve_key_expiry_timestamp_seconds"
                            f"{{{_where('')}}}) > 0) - time()",
                            "{{key}}",
                        )
                    ],
                    "Only of keys that have an end.",
                ),
                Panel(
                    "Versions",
                    "short",
                    [(_level("ray_fakescan_serve_build_info", by="version, ray"), "{{version}}, Ray {{ray}}")],
                    "Gates by version: more than one during a rollout.",
                ),
            ],
        ),
        _VLLM,
        _CLUSTER,
    ],
)

BOARDS = (SCAN, TRAIN, SERVE)


def _dashboard(board: Board) -> str:
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"fakescan-{board.name}")
        .tags(["fakescan"])
        .refresh("15s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_variable("cluster", "Ray cluster", "label_values(ray_node_cpu_count, SessionName)"))
    )
    if board.run is not None:
        built = built.with_variable(
            _variable("run", "Run", f'label_values({board.run}{{SessionName=~"$cluster"}}, run)')
        )
    y, ids = 0, itertools.count(1)
    for row in board.rows:
        heading = dashboard.Row(row.title).id(next(ids)).grid_pos(GridPos(h=1, w=_COLUMNS, x=0, y=y))
        built = built.with_row(heading)
        y += 1
        for panel, place in _placed(row.panels, y):
            built = built.with_panel(_panel(panel).id(next(ids)).grid_pos(place))
            y = max(y, place.y + place.h)
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_source())
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _source() -> DataSourceRef:
    return DataSourceRef(type_val="prometheus", uid="${datasource}")


def _placed(panels: Sequence[Panel], y: int) -> Iterator[tuple[Panel, GridPos]]:
    """Numbers side by side in one line, all else three to a line."""
    if all(panel.is_number for panel in panels):
        width = _COLUMNS // len(panels)
        for index, panel in enumerate(panels):
            yield panel, GridPos(h=4, w=width, x=index * width, y=y)
        return
    for index, panel in enumerate(panels):
        yield panel, GridPos(h=8, w=8, x=8 * (index % 3), y=y + 8 * (index // 3))


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    built: stat.Panel | timeseries.Panel
    if panel.is_number:
        built = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    else:
        built = (
            timeseries.Panel()
            .min(0)
            .fill_opacity(40 if panel.is_stacked else 8)
            .legend(
                common.VizLegendOptions()
                .display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM)
                .show_legend(True)
            )
            .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        )
        if panel.is_stacked:
            built = built.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if panel.max is not None:
        built = built.max(panel.max)
    built = built.title(panel.title).description(panel.tells).unit(panel.unit).datasource(_source())
    for number, (expression, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        # A number is that of now: the last one of the time shown would leave a server that is gone its replicas.
        query = query.instant() if panel.is_number else query.range()
        built = built.with_target(query)
    return built


def _prometheus_rule() -> str:
    rules = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))
    metadata = {"name": "fakescan", "labels": {"release": "prometheus"}}
    rule = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": metadata, "spec": rules}
    said = "# rules.yaml for the Prometheus operator, made of it by tools/monitoring_files.py (`make docs`).\n"
    return said + yaml.safe_dump(rule, sort_keys=False, width=120)


if __name__ == "__main__":
    sys.exit(main())
