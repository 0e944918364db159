"""A Ray cluster of several nodes on this machine: to see what a scan does when nodes come and go.

    python cluster/local.py --nodes 3 --cpus 2                  # a head and three nodes of two CPUs
    python cluster/local.py --nodes 3 --cpus 2 --lose-every 20  # ... of which one is lost now and then, and comes back
    python cluster/local.py --group gpu:0-4:2:1                 # up to four nodes of 2 CPUs and a GPU, by an autoscaler
    python cluster/local.py --nodes 2 --dashboard               # with Ray's dashboard, and its API for jobs

It prints the address for `fakescan scan --ray-address`, with the line of variables that a scan needs to reach it, and
ends with Ctrl-C. Nodes are processes; their CPUs and GPUs are numbers that Ray counts and nothing else, so a simulated
engine (`--engine fake`) takes the place of a real one. All of it listens at 127.0.0.1 and asks for Ray's token. No
other Ray of the machine is touched: logs, sockets and the note of the newest cluster lie in a folder of its own.

`make cluster` starts one in the background (tools/local_cluster.py).
"""

import argparse
import contextlib
import ctypes
import json
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from cluster.autoscaling import OBJECT_STORE, Autoscaler, Group
from cluster.ports import free_port, is_free
from fakevlm.errors import UserError

FOLDER_PREFIX = "fakescan-"
_POLL_S = 0.2
_AGENTS_S = 60.0
"""Seconds in which every node must be ready for jobs and for a scrape of its metrics."""
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: nodes that the autoscaler has started stay our children when it is gone."""
_DASHBOARD_PORT = 8265
_COMMON: dict[str, Any] = {"object_store_memory": OBJECT_STORE, "dashboard_agent_listen_port": 0}
"""Settings of every node."""
_DRIVERS_NEED = ("RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
"""Variables: that the token is asked for, and that all is at 127.0.0.1 (`fakescan.local_ray`)."""
_MAX_TMPDIR = 36
"""Bytes: the names of Ray's sockets have about 70 more, and may have 107."""


@dataclass(frozen=True)
class RunningCluster:
    """What others need to know of a cluster that runs; `--state` writes it as JSON."""

    pid: int
    """The process that keeps the cluster."""
    address: str
    """For `--ray-address`."""
    folder: str
    """Ray's logs and sockets."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that a driver needs."""
    dashboard: str | None = None
    """URL of the dashboard and of the API for jobs; None without."""
    metrics: str | None = None
    """File for Prometheus' `file_sd_configs`, which lists every node's metrics; None without a dashboard."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Raises OSError or ValueError where there is no such file, or another one."""
        try:
            return cls(**json.loads(file.read_text()))
        except TypeError as error:
            raise ValueError(str(error)) from None

    def write(self, file: Path) -> None:
        """Write it whole or not at all."""
        part = file.with_name(f"{file.name}.part")
        part.write_text(json.dumps(asdict(self), indent=2))
        part.replace(file)

    def lines(self) -> Iterator[str]:
        """The same for a reader; the last one says that it is ready."""
        yield "export " + shlex.join(f"{name}={value}" for name, value in self.environment.items())
        if self.dashboard:
            yield f"dashboard: {self.dashboard}   (it asks for a token: ray get-auth-token)"
        if self.metrics:
            yield f"metrics: {self.metrics}   (for file_sd_configs of Prometheus)"
        yield f"ready: --ray-address {self.address}   (Ctrl-C ends it)"


def main() -> None:
    """Start the cluster, say where it is, and keep it until a signal comes."""
    settings = _arguments()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=_short_tmpdir()))
    try:
        _run(settings, folder, ended)
    finally:
        if settings.state:
            settings.state.unlink(missing_ok=True)
        _end_descendants()
        shutil.rmtree(folder, ignore_errors=True)


def _run(settings: argparse.Namespace, folder: Path, ended: threading.Event) -> None:
    # Ray reads these when it is imported. The folder: else Ray notes this cluster in /tmp/ray as the newest one, which
    # other programs of this user would then connect to.
    os.environ["RAY_TMPDIR"] = str(folder)
    # The `python` of a job is this one.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    from fakescan.local_ray import prepare_environment, protect_token

    prepare_environment()
    # Two ports of the head's own metrics are the same in every Ray unless they are named: beside another Ray of the
    # machine a scrape would be of that one.
    os.environ |= {name: str(free_port()) for name in ("AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT")}
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    token = os.environ.get("RAY_AUTH_TOKEN")
    try:
        protect_token()
        if os.environ.get("RAY_AUTH_TOKEN") != token:  # in no file, so nobody else could use this cluster
            raise UserError(f"Ray's token cannot be written below {Path.home()}; set HOME, or RAY_AUTH_TOKEN")
        cluster = _start_head(settings, folder)
    except Exception as error:  # noqa: BLE001 - a home that cannot be written to, and whatever Ray raises at its start
        sys.exit(f"cluster: error: {error or type(error).__name__}")
    nodes = _Nodes(cluster, folder, {"num_cpus": settings.cpus, "num_gpus": settings.gpus, **_COMMON})
    for _ in range(settings.nodes):
        nodes.add()
    dashboard = f"http://{cluster.webui_url}" if cluster.webui_url else None
    metrics = Path(cluster.head_node.get_session_dir_path()) / "prom_metrics_service_discovery.json"
    if dashboard:
        _await_agents(cluster, metrics, ended)
    running = RunningCluster(
        pid=os.getpid(),
        address=cluster.address,
        folder=str(folder),
        environment={name: os.environ[name] for name in _DRIVERS_NEED},
        dashboard=dashboard,
        metrics=str(metrics) if dashboard else None,
    )
    if settings.state:
        running.write(settings.state)
    print(*running.lines(), sep="\n", flush=True)
    _keep(settings, nodes, ended)
    with contextlib.suppress(Exception):  # what is left is killed
        cluster.shutdown()


def _start_head(settings: argparse.Namespace, folder: Path) -> Any:
    """A cluster whose head is there, and nothing else."""
    from ray._private.services import get_node_ip_address
    from ray._private.utils import get_dashboard_dependency_error
    from ray.cluster_utils import Cluster

    port = settings.port or free_port()
    head: dict[str, Any] = {"num_cpus": settings.head_cpus, "gcs_server_port": port, "include_dashboard": False}
    if settings.dashboard:
        missing = get_dashboard_dependency_error()
        if missing is None:
            head |= {"include_dashboard": True, "dashboard_port": settings.dashboard_port or _dashboard_port()}
        else:
            print(f"no dashboard: {missing}; pip install 'ray[default]' brings what it needs", flush=True)
    if settings.group:
        autoscaler = Autoscaler(settings.group, settings.autoscaler, settings.idle_s, settings.head_cpus)
        file = folder / "autoscaler.yaml"
        autoscaler.write(file, f"{get_node_ip_address()}:{port}")  # type: ignore[no-untyped-call]
        os.environ |= autoscaler.environment()
        head |= {"autoscaling_config": str(file), "env_vars": autoscaler.head_environment()}
    return Cluster(initialize_head=True, head_node_args={**_COMMON, **head})


@dataclass
class _Nodes:
    """The nodes beside the head."""

    cluster: Any
    folder: Path
    options: dict[str, Any]
    added: int = 0

    def add(self) -> None:
        """Add one, with a folder of its own: of one that they share, each removes the code of jobs that it has done."""
        self.added += 1
        own = {"temp_dir": str(self.folder / str(self.added)), "include_log_monitor": True}
        self.cluster.add_node(**self.options, **own)

    @property
    def left(self) -> list[Any]:
        """Those that are there, in a lasting order."""
        return sorted(self.cluster.worker_nodes, key=lambda node: str(node.unique_id))

    def lose(self, node: Any) -> None:
        """As a machine is lost."""
        self.cluster.remove_node(node, allow_graceful=False)


def _await_agents(cluster: Any, metrics: Path, ended: threading.Event) -> None:
    """Wait until each node's agent, which starts jobs and answers scrapes, is there and listed for Prometheus."""
    from ray.dashboard.consts import DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX
    from ray.experimental.internal_kv import _internal_kv_get

    nodes = cluster.list_all_nodes()
    deadline = time.monotonic() + _AGENTS_S
    while time.monotonic() < deadline and not ended.wait(_POLL_S):
        keys = (f"{DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX}{node.node_id}" for node in nodes)
        if not all(_internal_kv_get(key.encode(), namespace="dashboard") for key in keys):
            continue
        ports = {
            f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in cluster.global_state.node_table()
        }
        with contextlib.suppress(OSError, ValueError):
            if len(ports) == len(nodes) and ports <= set(json.loads(metrics.read_text())[0]["targets"]):
                return


def _keep(settings: argparse.Namespace, nodes: _Nodes, ended: threading.Event) -> None:
    """Wait for the end; meanwhile lose nodes, if that is wanted, and add them again."""
    rng = random.Random(settings.seed)
    next_loss = _next(rng, settings.lose_every)
    while not ended.wait(_POLL_S):
        if settings.lose_every and time.monotonic() >= next_loss and nodes.left:
            nodes.lose(rng.choice(nodes.left))
            print(f"lost a node; {len(nodes.left)} left", flush=True)
            if not ended.wait(settings.back_after):
                nodes.add()
                print(f"a node has come; {len(nodes.left)} there", flush=True)
            next_loss = _next(rng, settings.lose_every)


def _next(rng: random.Random, every_s: float) -> float:
    return time.monotonic() + (rng.expovariate(1 / every_s) if every_s else 0.0)


def _short_tmpdir() -> str:
    """Where the folder goes: not into one whose name leaves no room for the names of Ray's sockets."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + len(f"/{FOLDER_PREFIX}12345678") <= _MAX_TMPDIR else "/tmp"


def _dashboard_port() -> int:
    """The usual port, or another one where something else has that."""
    return _DASHBOARD_PORT if is_free(_DASHBOARD_PORT) else free_port()


def _end_descendants() -> None:
    """Kill what is left of the nodes, those of the autoscaler included."""
    for _ in range(10):
        left = _descendants(os.getpid())
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(_POLL_S)


def _descendants(pid: int) -> list[int]:
    """Processes below this one, ended ones that nobody has waited for excluded."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    below = [pid]
    while below:
        below = [child for parent in below for child in children.get(parent, [])]
        found += below
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=0, help="nodes beside the head (default: 0)")
    parser.add_argument("--cpus", type=int, default=2, help="CPUs of each of them (default: 2)")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of each of them (default: 0)")
    parser.add_argument("--head-cpus", type=int, default=2, help="CPUs of the head (default: 2)")
    parser.add_argument("--lose-every", type=float, default=0.0, metavar="S", help="mean seconds between two losses")
    parser.add_argument("--back-after", type=float, default=5.0, metavar="S", help="seconds until a lost node is back")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is lost when (default: 0)")
    parser.add_argument(
        "--group", type=Group.parse, action="append", metavar="NAME:MIN-MAX:CPUS:GPUS",
        help="nodes that an autoscaler adds and removes; may be repeated",
    )  # fmt: skip
    parser.add_argument("--idle-s", type=float, default=60.0, help="seconds until an idle node goes (default: 60)")
    parser.add_argument("--autoscaler", choices=("v1", "v2"), default="v2", help="Ray's autoscaler (default: v2)")
    parser.add_argument("--port", type=int, help="port of the head (default: a free one)")
    parser.add_argument(
        "--dashboard", "--metrics", action="store_true",
        help="Ray's dashboard, its API for jobs, and a list of all nodes' metrics for Prometheus",
    )  # fmt: skip
    parser.add_argument("--dashboard-port", type=int, help="port of the dashboard (default: 8265, or a free one)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="write where the cluster is, when it is ready")
    settings = parser.parse_args()
    settings.dashboard = settings.dashboard or settings.dashboard_port is not None
    if settings.group and settings.nodes:
        parser.error("--nodes and --group exclude each other: an autoscaler knows only the nodes that it has started")
    if settings.lose_every and not settings.nodes:
        parser.error("--lose-every needs --nodes")
    if settings.state and not settings.state.absolute().parent.is_dir():
        parser.error(f"--state: {settings.state.absolute().parent} is not a folder")
    for name, port in (("--port", settings.port), ("--dashboard-port", settings.dashboard_port)):
        if port is not None and not is_free(port):
            parser.error(f"{name}: {port} is in use; choose another, or leave it out for a free one")
    return settings


if __name__ == "__main__":
    main()
