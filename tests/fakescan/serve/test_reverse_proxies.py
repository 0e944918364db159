"""The documented reverse proxies let through what the server takes, and wait as long as it works."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakescan.serve.api.heartbeats import HEARTBEAT_S
from fakescan.serve.config import Limits

pytestmark = pytest.mark.unit

CLUSTER = Path(__file__).parents[3] / "cluster"
LIMITS = Limits()


def nginx(name: str) -> str:
    """A directive's value in nginx.conf."""
    (value,) = re.findall(rf"^\s*{name} (.*?);", (CLUSTER / "nginx.conf").read_text(), re.MULTILINE)
    return str(value)


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def kubernetes(kind: str) -> dict[str, Any]:
    (found,) = [part for part in yaml.safe_load_all((CLUSTER / "ingress.yaml").read_text()) if part["kind"] == kind]
    return dict(found)


def test_nginx_agrees_with_the_limits() -> None:
    assert int(nginx("client_max_body_size").removesuffix("m")) * 2**20 == LIMITS.max_body_bytes
    assert seconds(nginx("client_body_timeout")) >= LIMITS.upload_timeout_s
    assert seconds(nginx("proxy_read_timeout")) > LIMITS.request_timeout_s + 2 > HEARTBEAT_S
    assert nginx("proxy_request_buffering") == "off"


def test_the_ingress_agrees_with_the_limits() -> None:
    prefix = "nginx.ingress.kubernetes.io/"
    annotations = kubernetes("Ingress")["metadata"]["annotations"]
    notes = {name.removeprefix(prefix): value for name, value in annotations.items()}
    assert all(isinstance(value, str) for value in notes.values()), "Kubernetes takes strings alone"
    for name in ("proxy-connect-timeout", "proxy-send-timeout", "proxy-read-timeout", "proxy-next-upstream"):
        assert notes[name] == nginx(name.replace("-", "_")).removesuffix("s"), name
    assert notes["proxy-body-size"] == nginx("client_max_body_size")
    assert notes["proxy-request-buffering"] == nginx("proxy_request_buffering")
    assert notes["limit-connections"] == nginx("limit_conn").split()[1]


def test_ingress_and_route_have_the_same_paths_and_no_metrics() -> None:
    (rule,) = kubernetes("Ingress")["spec"]["rules"]
    of_ingress = {(path["path"], path["pathType"].removeprefix("Path")) for path in rule["http"]["paths"]}
    (route,) = kubernetes("HTTPRoute")["spec"]["rules"]
    of_route = {(match["path"]["value"], match["path"]["type"].removeprefix("Path")) for match in route["matches"]}
    assert of_route == of_ingress
    assert "/metrics" not in {path for path, _ in of_ingress}
    assert seconds(route["timeouts"]["request"]) > LIMITS.upload_timeout_s + LIMITS.request_timeout_s
    assert route["backendRefs"][0]["port"] == kubernetes("Service")["spec"]["ports"][0]["port"]
