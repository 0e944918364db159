"""Cluster nodes: what there is room for, now and when an autoscaler has added what it may; how that is known."""

import json
import math
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from fakescan.cluster_nodes import (
    MAX_ADDED,
    ClusterNodes,
    Node,
    NodeGroup,
    connected_nodes,
    groups_of_this_head,
)

HEAD, CPU_NODE, GPU_NODE = Node(cpus=4), Node(cpus=8), Node(cpus=16, gpus=4)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("gpus", "fit"), [(1, 4), (2, 2), (3, 1), (4, 1), (5, 0), (0.5, 8), (0.25, 16), (0.1, 40), (1 / 3, 12)]
)
def test_an_engine_is_on_one_node(gpus: float, fit: int) -> None:
    assert GPU_NODE.engines(gpus) == fit
    assert ClusterNodes((HEAD, GPU_NODE, GPU_NODE)).engines(gpus) == 2 * fit


@pytest.mark.unit
def test_a_cluster_without_an_autoscaler_has_what_is_there() -> None:
    cluster = ClusterNodes((HEAD, GPU_NODE, GPU_NODE))
    assert (cluster.cpus, cluster.max_cpus, cluster.gpus, cluster.max_gpus) == (36, 36, 8, 8)
    assert (cluster.engines(1), cluster.max_engines(1)) == (8, 8)
    assert (cluster.reachable_gpus, cluster.may_grow) == (8, False)
    assert ClusterNodes((HEAD,)).reachable_gpus == 0


@pytest.mark.unit
def test_groups_at_zero_count_as_what_may_come() -> None:
    groups = (NodeGroup("cpu", CPU_NODE, 10), NodeGroup("gpu", GPU_NODE, 3))
    cluster = ClusterNodes((HEAD,), groups)
    assert (cluster.gpus, cluster.reachable_gpus, cluster.max_gpus) == (0, 4, 12)
    assert (cluster.engines(1), cluster.max_engines(1), cluster.max_engines(2)) == (0, 12, 6)
    assert (cluster.cpus, cluster.max_cpus) == (4, 4 + 10 * 8 + 3 * 16)
    assert cluster.cpus_beside(1) == 4 + 80
    assert list(cluster.engine_nodes(1)) == [GPU_NODE]
    bounded = ClusterNodes((HEAD,), groups, max_added=2)
    assert (bounded.max_engines(1), bounded.max_cpus) == (8, 4 + 2 * 16)


@pytest.mark.unit
def test_of_an_autoscaler_that_is_not_known_nothing_is_promised_and_nothing_excluded() -> None:
    cluster = ClusterNodes((HEAD,), None)
    assert (cluster.may_grow, cluster.reachable_gpus, cluster.max_engines(1)) == (True, 0, 0)
    assert (cluster.max_cpus, cluster.max_gpus) == (math.inf, math.inf)


@contextmanager
def monitor(folder: Path, *arguments: str, version: str = "v2") -> Iterator[None]:
    """A process that looks as Ray's autoscaler does from outside."""
    script = folder / "ray" / "autoscaler" / version / "monitor.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("import sys\nprint(flush=True)\nsys.stdin.read()\n")
    command = [sys.executable, "-u", script, "--logs-dir=/tmp", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


CONFIG = {
    "max_workers": 12,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 4}, "node_config": {}},
        "gpu": {"resources": {"CPU": 16, "GPU": 4}, "min_workers": 0, "max_workers": 3},
        "cpu": {"resources": {"CPU": 8}},
        "none": {"resources": {"CPU": 8}, "max_workers": 0},
        "any": {"max_workers": 99},
    },
}
GROUPS = (
    NodeGroup("gpu", GPU_NODE, 3),
    NodeGroup("cpu", CPU_NODE, 12),
    NodeGroup("any", Node(), 12),
)


@pytest.mark.unit
@pytest.mark.parametrize("version", ["_private", "v2"])
@pytest.mark.parametrize("relative", [False, True])
def test_the_groups_are_those_of_the_autoscaler_of_this_cluster(tmp_path: Path, version: str, relative: bool) -> None:
    file = tmp_path / "groups.yaml"
    file.write_text(json.dumps(CONFIG))
    named = file.name if relative else str(file)
    other = tmp_path / "other.yaml"
    other.write_text("{}")
    with (
        monitor(tmp_path, "--gcs-address=127.0.0.1:65001", f"--autoscaling-config={other}", version=version),
        monitor(tmp_path, "--gcs-address=127.0.0.1:65002", f"--autoscaling-config={named}", version=version),
    ):
        assert groups_of_this_head("65002") == (GROUPS, 12)


@pytest.mark.unit
def test_a_monitor_that_only_looks_adds_nothing(tmp_path: Path) -> None:
    with monitor(tmp_path, "--gcs-address=127.0.0.1:65003"):
        assert groups_of_this_head("65003") == ((), MAX_ADDED)
    assert groups_of_this_head("65003") == ((), MAX_ADDED)


@pytest.mark.unit
@pytest.mark.parametrize(
    "text", [None, "", "[]", "{", "available_node_types: 3", "available_node_types: {a: {max_workers: x}}"]
)
def test_a_configuration_that_cannot_be_read_leaves_it_open(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "groups.yaml"
    if text is not None:
        file.write_text(text)
    with monitor(tmp_path, "--gcs-address=127.0.0.1:65004", f"--autoscaling-config={file}"):
        assert groups_of_this_head("65004") == (None, MAX_ADDED)


def worker_group(name: str, most: int, **limits: str) -> dict[str, Any]:
    containers = [{"name": "ray", "resources": {"limits": limits}}]
    bounds = {"minReplicas": 0, "maxReplicas": most, "replicas": 0}
    return {"groupName": name, **bounds, "rayStartParams": {}, "template": {"spec": {"containers": containers}}}


def ray_cluster_resource(*, autoscaling: bool) -> dict[str, Any]:
    """What Kubernetes says of a KubeRay cluster."""
    gpu = worker_group("gpu", 3, cpu="16", memory="64Gi", **{"nvidia.com/gpu": "4"})
    cpu = worker_group("cpu", 10, cpu="8", memory="16Gi")
    head = {key: value for key, value in worker_group("head", 0, cpu="4", memory="8Gi").items() if "eplicas" not in key}
    spec = {"enableInTreeAutoscaling": autoscaling, "headGroupSpec": head, "workerGroupSpecs": [gpu, cpu]}
    return {"metadata": {"name": "audit", "namespace": "scans"}, "spec": spec}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine's own address, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "api.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "api.key").write_bytes(key.private_bytes(*plain))
    return folder / "api.pem", folder / "api.key"


@contextmanager
def kubernetes(certificate: tuple[Path, Path], status: int, resource: dict[str, Any]) -> Iterator[dict[str, str]]:
    """An API server over HTTPS; the environment of a pod that is to ask it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/apis/ray.io/v1/namespaces/scans/rayclusters/audit"
            body = json.dumps(resource if found else {}).encode()
            self.send_response(status if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file, key = map(str, certificate)
    yield {
        "RAY_CLUSTER_NAME": "audit",
        "RAY_CLUSTER_NAMESPACE": "scans",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT_HTTPS": str(server.server_port),
        "RAY_KUBERAY_CLIENT_CERT_PATH": file,
        "RAY_KUBERAY_CLIENT_KEY_PATH": key,
        "RAY_KUBERAY_CA_CERT_PATH": file,
    }
    server.shutdown()
    server.server_close()


KUBERAY_GROUPS = ((NodeGroup("gpu", GPU_NODE, 3), NodeGroup("cpu", CPU_NODE, 10)), 13)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("status", "autoscaling", "expected"),
    [
        (200, True, KUBERAY_GROUPS),
        (200, False, ((), MAX_ADDED)),
        (403, True, ((), MAX_ADDED)),
        (500, True, (None, MAX_ADDED)),
    ],
)
def test_on_kubernetes_the_groups_are_those_of_the_ray_cluster(
    certificate: tuple[Path, Path], status: int, autoscaling: bool, expected: Any
) -> None:
    """Through Ray's own client, which reads its environment when it is imported: in a process of its own."""
    code = "from fakescan.cluster_nodes import *; print(repr(groups_of_this_head('1')))"
    with kubernetes(certificate, status, ray_cluster_resource(autoscaling=autoscaling)) as environment:
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
        )
    assert eval(done.stdout, {"NodeGroup": NodeGroup, "Node": Node}) == expected


@pytest.mark.cluster
def test_a_cluster_of_this_machine_is_what_it_is(ray_cluster: str) -> None:
    assert connected_nodes() == ClusterNodes((Node(cpus=4),), ())
