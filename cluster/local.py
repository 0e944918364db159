"""A Ray cluster of several nodes on this machine: to see what a scan does when nodes come and go.

    python cluster/local.py --nodes 3 --cpus 2                  # a head and three nodes of two CPUs
    python cluster/local.py --nodes 3 --cpus 2 --lose-every 20  # ... of which one is lost now and then, and comes back
    python cluster/local.py --group gpu:0-4:2:1                 # up to four nodes of 2 CPUs and a GPU, by an autoscaler

It prints the address for `fakescan scan --ray-address`, with the line that makes the scan send Ray's token, and ends
with Ctrl-C. Nodes are processes; their CPUs and GPUs are numbers that Ray counts and nothing else, so a simulated
engine (`--engine fake`) takes the place of a real one. No other Ray of the machine is touched.
"""

import argparse
import contextlib
import ctypes
import json
import os
import random
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_POLL_S = 0.2
_OBJECT_STORE = 200 * 2**20
"""Bytes of each node's object store."""
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: nodes that the autoscaler has started stay our children when it is gone."""


@dataclass(frozen=True)
class Group:
    """Nodes of one kind that the autoscaler adds and removes."""

    name: str
    min_nodes: int
    max_nodes: int
    cpus: float
    gpus: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """`gpu:0-4:2:1`: name, fewest and most nodes, CPUs and GPUs of each."""
        match = re.fullmatch(r"([\w-]+):(\d+)-(\d+):([\d.]+):([\d.]+)", text)
        if match is None or int(match[2]) > int(match[3]):
            raise argparse.ArgumentTypeError(f"{text!r} is not NAME:MIN-MAX:CPUS:GPUS, such as gpu:0-4:2:1")
        return cls(match[1], int(match[2]), int(match[3]), float(match[4]), float(match[5]))

    def node_type(self) -> dict[str, Any]:
        """The same for the autoscaler."""
        resources = {"CPU": self.cpus, "GPU": self.gpus, "object_store_memory": _OBJECT_STORE}
        bounds = {"min_workers": self.min_nodes, "max_workers": self.max_nodes}
        return {"resources": resources, "node_config": {}, **bounds}


def main() -> None:
    """Start the cluster, say where it is, and keep it until a signal comes."""
    settings = _arguments()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        with tempfile.TemporaryDirectory(prefix="fakescan-") as folder:
            _run(settings, Path(folder), ended)
    finally:
        _end_descendants()


def _run(settings: argparse.Namespace, folder: Path, ended: threading.Event) -> None:
    port = settings.port or _free_port()
    if settings.group:
        _set_up_autoscaler(settings, folder, port)
    from ray._private.authentication.authentication_token_setup import (
        enable_token_auth_by_default,
        ensure_token_if_auth_enabled,
    )
    from ray.cluster_utils import Cluster

    has_token = enable_token_auth_by_default()  # as any Ray that a program starts for itself
    if has_token:
        ensure_token_if_auth_enabled(None, create_token_if_missing=True)
    common: dict[str, Any] = {"object_store_memory": _OBJECT_STORE, "dashboard_agent_listen_port": 0}
    head = {"num_cpus": settings.head_cpus, "gcs_server_port": port, "include_dashboard": False, **common}
    if settings.group:
        head |= {"autoscaling_config": str(folder / "autoscaler.yaml"), "env_vars": _head_id(settings.autoscaler)}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    node = {"num_cpus": settings.cpus, "num_gpus": settings.gpus, **common}
    for _ in range(settings.nodes):
        cluster.add_node(**node)
    if has_token:
        print("export RAY_AUTH_MODE=token")
    print(f"ready: --ray-address {cluster.address}   (Ctrl-C ends it)", flush=True)
    rng = random.Random(settings.seed)
    next_loss = _next(rng, settings.lose_every)
    while not ended.wait(_POLL_S):
        if settings.lose_every and time.monotonic() >= next_loss and cluster.worker_nodes:
            lost = rng.choice(sorted(cluster.worker_nodes, key=lambda node: str(node.unique_id)))
            cluster.remove_node(lost, allow_graceful=False)
            print(f"lost a node; {len(cluster.worker_nodes)} left", flush=True)
            if not ended.wait(settings.back_after):
                cluster.add_node(**node)
                print(f"a node has come; {len(cluster.worker_nodes)} there", flush=True)
            next_loss = _next(rng, settings.lose_every)
    with contextlib.suppress(Exception):  # what is left is killed below
        cluster.shutdown()


def _next(rng: random.Random, every_s: float) -> float:
    return time.monotonic() + (rng.expovariate(1 / every_s) if every_s else 0.0)


def _set_up_autoscaler(settings: argparse.Namespace, folder: Path, port: int) -> None:
    """Write the configuration for Ray's provider of nodes that are processes, and set the environment that it needs."""
    from ray._private.services import get_node_ip_address
    from ray.autoscaler._private.fake_multi_node.node_provider import (
        FAKE_HEAD_NODE_ID,
        FAKE_HEAD_NODE_TYPE,
        FakeMultiNodeProvider,
    )

    provider: dict[str, Any] = {
        "type": "external",  # Ray's wheel lacks a file that its own name for this provider needs
        "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
        "gcs_address": f"{get_node_ip_address()}:{port}",
        "use_node_id_as_ip": True,  # they all have one address
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    if settings.autoscaler == "v2":
        provider |= {"launch_multiple": True, "head_node_id": FAKE_HEAD_NODE_ID}
    head = {"resources": {"CPU": settings.head_cpus}, "node_config": {}, "max_workers": 0}
    unused: dict[str, Any] = {
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        **{f"{name}_commands": [] for name in ("initialization", "setup", "head_setup", "worker_setup")},
        **{f"{name}_start_ray_commands": [] for name in ("head", "worker")},
        "file_mounts_sync_continuously": False,
    }
    config = {
        "cluster_name": "local",
        "max_workers": sum(group.max_nodes for group in settings.group),
        "provider": provider,
        "available_node_types": {
            FAKE_HEAD_NODE_TYPE: head,
            **{group.name: group.node_type() for group in settings.group},
        },
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": settings.idle_s / 60,
        **unused,
    }
    (folder / "autoscaler.yaml").write_text(json.dumps(config))  # JSON is YAML
    os.environ |= {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": str(int(settings.autoscaler == "v2")),
    }


def _head_id(autoscaler: str) -> dict[str, str]:
    """Variables by which the provider knows the head."""
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

    names = ["RAY_OVERRIDE_NODE_ID_FOR_TESTING"] + (["RAY_CLOUD_INSTANCE_ID"] if autoscaler == "v2" else [])
    return dict.fromkeys(names, FAKE_HEAD_NODE_ID)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


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
    settings = parser.parse_args()
    if settings.group and settings.nodes:
        parser.error("--nodes and --group exclude each other: an autoscaler knows only the nodes that it has started")
    if settings.lose_every and not settings.nodes:
        parser.error("--lose-every needs --nodes")
    return settings


if __name__ == "__main__":
    sys.exit(main())
