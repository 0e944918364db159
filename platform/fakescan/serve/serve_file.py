"""Serve files: the settings that are read of one, and the one that describes a server.

`serve deploy` takes more settings than `fakescan serve` can honour. Those are refused: none is dropped.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from fakescan.serve.config import ServeConfig
from fakescan.serve.gate.control_client import APP_NAME
from fakescan.serve.operation.serve_log import logs_json
from fakescan.settings.strict_model import StrictModel
from fakescan.settings.yaml_file import first_mistake, read_yaml
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
    # In the proxy's own event loop, instead of one beside it with which every request changes threads four times: a
    # tenth of what gate, proxy and replica take for a request.
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    # Ten looks of the controller a second would be a third of what an idle server takes.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
}
"""Environment of Serve's controller and proxies."""
HOST = "127.0.0.1"
PORT = 8000

_NOT_HERE: Mapping[str, str] = {
    "grpc_options": "the gate guards HTTP alone, so there is no gRPC",
    "tracing_config": "`otlp_endpoint` in args traces requests through gate, replica and engine",
    "target_capacity": "`replicas` in args says how many there are",
    "http_options.root_path": "the gate knows its paths from the root; have a reverse proxy strip the prefix",
    "http_options.request_timeout_s": "`limits.request_timeout_s` in args bounds requests",
    "http_options.ssl_ca_certs": "Serve reads them and asks no client for a certificate; a reverse proxy can",
    "http_options.location": "proxy_location says where proxies run",
    "applications.deployments": "args has the settings of the deployments",
    "applications.autoscaling_policy": "`replicas` in args, such as 1-8, follows the load",
    "applications.external_scaler_enabled": "`replicas` in args, such as 1-8, follows the load",
}
"""Settings of Serve's own that cannot be honoured, and why."""


class HttpOptions(StrictModel):
    """Where the proxies listen, and their certificate."""

    model_config = ConfigDict(strict=True)

    host: str = HOST
    """Address to listen at."""
    port: Annotated[int, Field(ge=1, le=65535)] = PORT
    """Port to listen at."""
    keep_alive_timeout_s: Annotated[int, Field(ge=1)] | None = None
    """Seconds for which a connection without requests stays open. Default: Serve's, 90."""
    ssl_certfile: str | None = None
    """PEM file with the certificate and those of its issuers; the server speaks TLS. On every node."""
    ssl_keyfile: str | None = None
    """PEM file with the certificate's key, on every node."""
    ssl_keyfile_password: str | None = None
    """Password of the key."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("ssl_certfile and ssl_keyfile belong together; give both or none")
        return self

    @property
    def is_tls(self) -> bool:
        """Whether the server speaks TLS."""
        return self.ssl_certfile is not None


class LoggingOptions(StrictModel):
    """Serve's logs: those of controller, proxies and replicas."""

    encoding: Literal["TEXT", "JSON"] | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = None
    logs_dir: str | None = None
    """Folder, on every node. Default: that of the Ray session."""
    enable_access_log: bool = False
    """Whether Serve logs every request too; the gate does."""
    additional_log_standard_attrs: tuple[str, ...] = ()


class _ControllerEnvironment(StrictModel):
    env_vars: dict[str, str] = Field(default_factory=dict)


class _ControllerOptions(StrictModel):
    runtime_env: _ControllerEnvironment = _ControllerEnvironment()


class _Application(StrictModel):
    name: str = APP_NAME
    route_prefix: str = "/"
    import_path: str
    args: dict[str, Any] = Field(default_factory=dict)
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    logging_config: LoggingOptions | None = None

    @model_validator(mode="after")
    def _where_the_gate_looks(self) -> Self:
        if self.name != APP_NAME:
            raise ValueError(f"name: the gate looks for an application called {APP_NAME}; call it so")
        if self.route_prefix != "/":
            raise ValueError("route_prefix: the gate knows its paths from the root; use /")
        return self


class ServeFile(StrictModel):
    """A Serve file with one application, as far as `fakescan serve` can honour one; `serve deploy` takes it too."""

    proxy_location: Literal["EveryNode", "HeadOnly"] = "EveryNode"
    """Nodes of a cluster that listen."""
    http_options: HttpOptions = HttpOptions()
    controller_options: _ControllerOptions = _ControllerOptions()
    logging_config: LoggingOptions = LoggingOptions()
    applications: tuple[_Application, ...] = (_Application(import_path=IMPORT_PATH),)

    @field_validator("applications")  # bounds on the length would count a mistake inside as one more
    @classmethod
    def _one(cls, applications: tuple[_Application, ...]) -> tuple[_Application, ...]:
        if len(applications) != 1:
            raise ValueError("fakescan serve runs one application")
        return applications

    @property
    def args(self) -> dict[str, Any]:
        """Settings of the application, not yet checked."""
        return self.applications[0].args

    @property
    def replica_logging(self) -> LoggingOptions:
        """The settings of the replicas' logs: the application's own, else those of all."""
        return self.applications[0].logging_config or self.logging_config

    @property
    def proxy_environment(self) -> dict[str, str]:
        """Environment of controller and proxies."""
        return {**PROXY_ENVIRONMENT, **self.controller_options.runtime_env.env_vars}

    @property
    def runtime_env(self) -> dict[str, Any]:
        """Runtime environment of the replicas."""
        return self.applications[0].runtime_env

    def listening_at(self, changes: Mapping[str, Any]) -> Self:
        """The same file with other `http_options`. Raises UserError."""
        options = {**self.http_options.model_dump(exclude_unset=True), **changes}
        try:
            return self.model_copy(update={"http_options": HttpOptions.model_validate(options)})
        except ValidationError as error:
            raise UserError(first_mistake(error, command="serve", model=HttpOptions)) from None


class Server(StrictModel):
    """A checked server."""

    file: ServeFile
    """All but the application's settings."""
    config: ServeConfig

    @property
    def host(self) -> str:
        """Address that it listens at."""
        return self.file.http_options.host

    @property
    def port(self) -> int:
        """Port that it listens at."""
        return self.file.http_options.port

    @property
    def url(self) -> str:
        """Where people find it."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.file.http_options.is_tls else 'http'}://{shown}:{self.port}/"

    @property
    def needs_restart(self) -> dict[str, Any]:
        """The settings that no running server can change."""
        return self.file.model_dump(exclude={"applications"})


def read_serve_file(file: Path) -> ServeFile:
    """A Serve file with this application. Raises UserError where it has none, or what cannot be honoured."""
    settings = _without_nothing(read_yaml(file))
    applications = settings.get("applications")
    if not isinstance(applications, list):
        raise UserError(f"--config: {file} has no `applications`; see cluster/serve.yaml for the format")
    matching = [app for app in applications if isinstance(app, dict) and app.get("import_path") == IMPORT_PATH]
    if len(matching) != 1:
        raise UserError(
            f"--config: {file} has {len(matching)} applications with import_path {IMPORT_PATH}; it needs one"
        )
    if len(applications) != 1:
        raise UserError(
            f"--config: {file} has {len(applications)} applications, and fakescan serve runs one; "
            "`serve deploy` takes them all"
        )
    for place, reason in _NOT_HERE.items():
        *parents, name = place.split(".")
        parts = {"": settings, "http_options": settings.get("http_options"), "applications": matching[0]}
        part = parts[".".join(parents)]
        if isinstance(part, dict) and name in part:
            raise UserError(f"--config: {file}: {place}: fakescan serve cannot honour it: {reason}")
    try:
        found = ServeFile.model_validate(settings)
    except ValidationError as error:
        raise UserError(f"--config: {file}: {first_mistake(error, command='serve', model=ServeFile)}") from None
    if found.proxy_environment[GATE_VARIABLE] != GATE:
        raise UserError(f"--config: {file}: {GATE_VARIABLE} must be {GATE}: without the gate replicas answer nobody")
    return found


def _without_nothing(value: Any) -> Any:
    """The same settings without those whose value is missing, as a line that ends with its colon has none."""
    if isinstance(value, dict):
        return {name: _without_nothing(inner) for name, inner in value.items() if inner is not None}
    return [_without_nothing(inner) for inner in value] if isinstance(value, list) else value


def serve_file(server: Server) -> dict[str, Any]:
    """The Serve file of a server, for `serve deploy`."""
    file = server.file
    application: dict[str, Any] = {
        "name": APP_NAME,
        "route_prefix": "/",
        "import_path": IMPORT_PATH,
        "args": server.config.model_dump(mode="json", exclude_defaults=True),
    }
    if file.runtime_env:
        application["runtime_env"] = file.runtime_env
    if file.replica_logging != file.logging_config:
        application["logging_config"] = logging_config(file.replica_logging)
    return {
        "proxy_location": file.proxy_location,
        "http_options": http_options(file.http_options),
        "controller_options": {"runtime_env": {"env_vars": file.proxy_environment}},
        "logging_config": logging_config(file.logging_config),
        "applications": [application],
    }


def http_options(options: HttpOptions) -> dict[str, Any]:
    """The same for Serve."""
    return options.model_dump(exclude_none=True)


def logging_config(options: LoggingOptions) -> dict[str, Any]:
    """The same for Serve."""
    settings = options.model_dump(mode="json", exclude_none=True)
    if logs_json():
        settings.setdefault("encoding", "JSON")
    if not settings["additional_log_standard_attrs"]:
        del settings["additional_log_standard_attrs"]
    return settings
