"""Serve files: the parts that are read of one, and the one that describes a server."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakescan.serve.config import ServeConfig
from fakescan.serve.gate.control_client import APP_NAME
from fakescan.settings.yaml_file import read_yaml
from fakevlm.errors import UserError

IMPORT_PATH = "fakescan.serve.app:build"
GATE = "fakescan.serve.gate:middleware"
GATE_VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
PROXY_ENVIRONMENT = {
    GATE_VARIABLE: GATE,
    # Serve replaces a dead proxy after three failed checks, of which it makes one in 10 s unless told.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
    # Ray sends arguments of up to 100 kB with a call, and others by its object store: for an image of 150 kB that took
    # a quarter of the request's CPU time.
    "RAY_max_direct_call_object_size": str(8 * 2**20),
    "RAY_task_rpc_inlined_bytes_limit": str(64 * 2**20),
}
"""Environment of Serve's controller and proxies."""
HOST = "127.0.0.1"
PORT = 8000


@dataclass(frozen=True)
class ServeFile:
    """The parts that are read of a Serve file, which `serve deploy` takes whole."""

    host: str = HOST
    port: int = PORT
    args: dict[str, Any] = field(default_factory=dict)
    """Settings of the application, not yet checked."""


@dataclass(frozen=True)
class Server:
    """A checked server."""

    host: str
    port: int
    config: ServeConfig


def read_serve_file(file: Path) -> ServeFile:
    """The parts of a Serve file that concern this application. Raises UserError where it has none."""
    settings = read_yaml(file)
    applications = settings.get("applications")
    if not isinstance(applications, list):
        raise UserError(f"--config: {file} has no `applications`; see cluster/serve.yaml for the format")
    matching = [app for app in applications if isinstance(app, dict) and app.get("import_path") == IMPORT_PATH]
    if len(matching) != 1:
        raise UserError(
            f"--config: {file} has {len(matching)} applications with import_path {IMPORT_PATH}; it needs one"
        )
    args = matching[0].get("args") or {}
    http = settings.get("http_options") or {}
    if not isinstance(args, dict) or not isinstance(http, dict):
        raise UserError(f"--config: in {file} `args` and `http_options` must be `name: value` lines")
    return ServeFile(http.get("host", HOST), http.get("port", PORT), args)


def serve_file(server: Server) -> dict[str, Any]:
    """The Serve file of a server, for `serve deploy`."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": server.host, "port": server.port},
        "controller_options": {"runtime_env": {"env_vars": PROXY_ENVIRONMENT}},
        "logging_config": {"enable_access_log": False},
        "applications": [
            {
                "name": APP_NAME,
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "args": server.config.model_dump(mode="json", exclude_defaults=True),
            }
        ],
    }
