"""Node groups of a local cluster: Ray's autoscaler with a provider whose nodes are processes."""

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

OBJECT_STORE = 200 * 2**20
"""Bytes of each node's object store."""


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
        resources = {"CPU": self.cpus, "GPU": self.gpus, "object_store_memory": OBJECT_STORE}
        bounds = {"min_workers": self.min_nodes, "max_workers": self.max_nodes}
        return {"resources": resources, "node_config": {}, **bounds}


@dataclass(frozen=True)
class Autoscaler:
    """Ray's autoscaler of one local cluster. `version`: v1 or v2; `idle_s`: seconds until an idle node goes."""

    groups: list[Group]
    version: str
    idle_s: float
    head_cpus: float

    def environment(self) -> dict[str, str]:
        """Variables that the process which starts the head needs."""
        return {
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_enable_autoscaler_v2": str(int(self.version == "v2")),
        }

    def head_environment(self) -> dict[str, str]:
        """Variables by which the provider knows the head."""
        from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

        names = ["RAY_OVERRIDE_NODE_ID_FOR_TESTING"] + (["RAY_CLOUD_INSTANCE_ID"] if self.version == "v2" else [])
        return dict.fromkeys(names, FAKE_HEAD_NODE_ID)

    def write(self, file: Path, gcs_address: str) -> None:
        """Write the configuration that the head is started with."""
        file.write_text(json.dumps(self._configuration(gcs_address)))  # JSON is YAML

    def _configuration(self, gcs_address: str) -> dict[str, Any]:
        from ray.autoscaler._private.fake_multi_node.node_provider import (
            FAKE_HEAD_NODE_ID,
            FAKE_HEAD_NODE_TYPE,
            FakeMultiNodeProvider,
        )

        provider: dict[str, Any] = {
            "type": "external",  # Ray's wheel lacks a file that its own name for this provider needs
            "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
            "gcs_address": gcs_address,
            "use_node_id_as_ip": True,  # they all have one address
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        }
        if self.version == "v2":
            provider |= {"launch_multiple": True, "head_node_id": FAKE_HEAD_NODE_ID}
        head = {"resources": {"CPU": self.head_cpus}, "node_config": {}, "max_workers": 0}
        unused: dict[str, Any] = {
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
            **{f"{name}_commands": [] for name in ("initialization", "setup", "head_setup", "worker_setup")},
            **{f"{name}_start_ray_commands": [] for name in ("head", "worker")},
            "file_mounts_sync_continuously": False,
        }
        return {
            "cluster_name": "local",
            "max_workers": sum(group.max_nodes for group in self.groups),
            "provider": provider,
            "available_node_types": {
                FAKE_HEAD_NODE_TYPE: head,
                **{group.name: group.node_type() for group in self.groups},
            },
            "head_node_type": FAKE_HEAD_NODE_TYPE,
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": self.idle_s / 60,
            **unused,
        }
