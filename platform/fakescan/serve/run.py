"""Runs a server in the foreground: check, start Ray and Serve, wait, roll out what has changed, stop."""

import contextlib
import errno
import http.client
import importlib.util
import json
import logging
import math
import os
import signal
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakescan.cluster import connect, names_cluster
from fakescan.cluster_nodes import connected_nodes
from fakescan.engine.factory import check_installed
from fakescan.engine.judging_options import chosen_calibration
from fakescan.engine.model import PinnedModel, model_name, open_model, pinned_model
from fakescan.errors import JobFailedError
from fakescan.serve.config import ServeConfig
from fakescan.serve.decoding.trust import trust_of
from fakescan.serve.gate.control_client import APP_NAME, NOTICE_S, REPLICA, announce_draining
from fakescan.serve.keys import Key, read_keys
from fakescan.serve.operation.log_folder import folder_fault
from fakescan.serve.operation.start_progress import StartLines
from fakescan.serve.operation.tls import check_certificate
from fakescan.serve.serve_file import HttpOptions, Server, http_options, logging_config
from fakescan.terminal.messages import say
from fakescan.tracing import check as check_tracing
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.self_test import self_test
from fakevlm.errors import UserError, one_line
from fakevlm.provenance.trust import NO_LISTS

_SCAN_CPUS = 2
"""Logical CPUs on a machine of our own for each scan that clients may start."""
_LOG_ROTATION = {"RAY_ROTATION_MAX_BYTES": str(32 * 2**20), "RAY_ROTATION_BACKUP_COUNT": "3"}
"""Ray's bounds on each of its log files, and on each of Serve's; its own are 512 MiB and five old files."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ServeFailedError(JobFailedError):
    """The server did not come up, or a rollout was taken back. The message is one line."""


def run_server(
    server: Server, *, reread: Callable[[], Server], ray_address: str | None = None, verbose: bool = False
) -> None:
    """Serves until SIGINT or SIGTERM; SIGHUP rolls out what `reread` gives. Raises UserError before it deploys."""
    local = not names_cluster(ray_address)
    checkpoint = check(server, local=local)
    _note("starting: Ray on this machine" if local else "starting: connecting to the cluster")
    for name, value in _LOG_ROTATION.items() if local else ():
        os.environ.setdefault(name, value)
    connect(ray_address, verbose=verbose, data=False, **(_local_options(server.config) if local else {}))
    _check_gpus(server.config)
    _check_runtime_env(server)
    from ray import serve

    quiet = logging.INFO if verbose else logging.ERROR
    logging.getLogger("ray.serve").setLevel(quiet)
    deployed = False
    try:
        _note("starting: Serve")
        serve.start(
            proxy_location="HeadOnly" if local else server.file.proxy_location,
            http_options=http_options(server.file.http_options),
            controller_options={"runtime_env": {"env_vars": _proxy_environment(server)}},
            logging_config=logging_config(server.file.logging_config),
        )
        _check_same_serve(server)
        model = pinned_model(server.config.model, checkpoint)
        deployed = True
        _deploy(server, model)
        _check_gate(server)
        _say(server, checkpoint, local=local)
        with _signals() as signals:
            while signals.wait() == "reload":
                server, model = _roll_out(server, model, reread, local=local)
            _note("stopping: requests in flight are answered first")
            announce_draining()
            signals.wait_for_another(NOTICE_S)  # once all gates know, none of them takes its end for a full queue
    finally:
        # Not while it is interrupted again: half a shutdown would leave replicas behind on a cluster.
        with _signals():
            if deployed:
                serve.delete(APP_NAME)
            if local:
                serve.shutdown()  # type: ignore[no-untyped-call]
    _note("stopped")


def check(server: Server, *, local: bool = True) -> Checkpoint:
    """Checks what can be checked before Ray starts, and returns the opened checkpoint. Raises UserError."""
    _check_address(server)
    _check_certificate(server.file.http_options)
    for name, options in (
        ("logging_config", server.file.logging_config),
        ("applications.logging_config", server.file.replica_logging),
    ):
        _check_log_folder(f"{name}.logs_dir", options.logs_dir, local=local)
    return _check_config(server.config, local=local)


def _check_config(config: ServeConfig, *, local: bool) -> Checkpoint:
    for package in ("fastapi", "python_multipart", "prometheus_client", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"serve: {package} is not installed; install fakescan[serve]")
    check_installed(config.engine)
    check_tracing(config.otlp_endpoint)
    if config.keys is not None:
        _check_keys(Path(config.keys))
    _check_log_folder("access_log.folder", config.access_log.folder, local=local)
    checkpoint = open_model(config.model, config.model_store, show_progress=True)
    self_test(checkpoint)
    chosen_calibration(checkpoint, config.calibration, config.model_store)
    trust_of(config)
    return checkpoint


def _check_keys(path: Path) -> None:
    keys = read_keys(path).keys
    if not keys:
        raise UserError(f"keys: {path} has no keys; make one with fakescan keys add NAME --file {path}")
    for fault in key_faults(keys, path.stat().st_mode):
        _note(f"warning: keys: {path}: {fault}")


def key_faults(keys: Sequence[Key], mode: int) -> Iterator[str]:
    """What is odd about a file with these keys and this mode, though it can be used."""
    now = datetime.now(UTC)
    if not any(key.is_valid(now) for key in keys):
        yield "all keys are disabled or have expired, so every request is refused; fakescan keys add makes one"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        others = "everybody on this machine" if mode & stat.S_IWOTH else "its group"
        yield f"{others} can write it, and so let anybody in; chmod 600 (now {stat.S_IMODE(mode):o})"


def _check_log_folder(setting: str, folder: str | None, *, local: bool) -> None:
    """Raises UserError for a folder that cannot be written; of a cluster, this machine need not be a node."""
    if folder is None or (fault := folder_fault(folder)) is None:
        return
    if local:
        raise UserError(f"{setting}: cannot write in {folder}: {fault}")
    _note(f"warning: {setting}: this machine cannot write in {folder}: {fault}")


def _check_gpus(config: ServeConfig) -> None:
    """Raises UserError where the connected cluster lacks the GPUs, and nothing adds them: Serve would wait forever."""
    cluster = connected_nodes()
    if cluster.groups is not None:
        config.refuse_without_gpus(cluster.reachable_gpus)
    each, low = config.gpus_per_engine(cluster.reachable_gpus), config.replicas.low
    if not each and config.device == "auto" and config.gpus_per_replica is None and not config.engine.is_simulated:
        _note("no GPUs found: engines run on CPUs (--device cuda refuses that)")
    if not each or low <= cluster.engines(each):
        return
    if cluster.groups is not None and low > cluster.max_engines(each):
        raise UserError(
            f"replicas: {low} replicas with {each:g} GPUs each need {each * low:g} GPUs, the cluster has "
            f"{cluster.gpus:g}; lower --replicas or --gpus-per-replica"
        )
    _note(f"waiting for a GPU node: {low} replicas with {each:g} GPUs each, the cluster has {cluster.gpus:g} now")


def _check_runtime_env(server: Server) -> None:
    from ray.runtime_env import RuntimeEnv

    try:
        RuntimeEnv(**server.file.runtime_env)
    except (ValueError, TypeError) as error:
        raise UserError(f"applications.runtime_env: {one_line(error)}") from None


def _check_address(server: Server) -> None:
    with contextlib.closing(socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            name = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
            raise UserError(
                f"{name}: cannot listen at {server.host}:{server.port} ({error.strerror}); use another --{name}"
            ) from None


def _check_certificate(options: HttpOptions) -> None:
    if options.ssl_certfile is None or options.ssl_keyfile is None:
        return
    fault = check_certificate(options.ssl_certfile, options.ssl_keyfile, options.ssl_keyfile_password)
    if fault is not None:
        _note(f"warning: tls-cert: clients will refuse {options.ssl_certfile}: {fault}")


def _local_options(config: ServeConfig) -> dict[str, Any]:
    # Logical CPUs: a replica and a scan share the cores as any two processes do, and Ray must not keep one waiting.
    cpus = config.replicas.high * config.cpus_per_replica * 2  # twice, for a rollout
    if config.scans is not None:
        cpus += config.scans.max_running * (_SCAN_CPUS + config.scans.replicas.high)
    return {"cpus": max(os.cpu_count() or 1, math.ceil(cpus)), "dashboard": config.scans is not None}


def _proxy_environment(server: Server) -> dict[str, str]:
    path = os.environ.get("PYTHONPATH")
    return {**({"PYTHONPATH": path} if path else {}), **server.file.proxy_environment}


def _check_same_serve(server: Server) -> None:
    """Raises UserError where a Serve was running on the cluster already, and listens elsewhere or otherwise.

    Serve logs a warning then, and goes on with what it has.
    """
    from ray.serve.context import _get_global_client

    client = _get_global_client()
    assert client is not None, "serve.start has returned"
    running = client.http_config
    wanted = http_options(server.file.http_options)
    other = [name for name, value in wanted.items() if getattr(running, name) != value]
    if not server.file.http_options.is_tls and running.ssl_certfile:
        other.append("ssl_certfile")
    if other:
        raise UserError(
            f"{other[0]}: a Serve is running on this cluster with another one, at {running.host}:{running.port}; "
            "end it with `serve shutdown`, or use the same"
        )


def _deploy(server: Server, model: PinnedModel, doing: str = "starting") -> None:
    """Starts the application or replaces it. Raises ServeFailedError with the replica's own message."""
    from ray import serve

    from fakescan.serve.app import application as application_of

    built = application_of(server.config, model, server.file.runtime_env)
    logs = logging_config(server.file.replica_logging)
    try:
        with StartLines(_note, prefix=doing):
            serve.run(built, name=APP_NAME, route_prefix="/", logging_config=logs)
    except RuntimeError as error:
        application = serve.status().applications.get(APP_NAME)
        replica = application.deployments.get(REPLICA) if application is not None else None
        reason = replica.message if replica is not None and replica.message else str(error)
        raise ServeFailedError(f"the server does not start: {cause_of(reason)}") from None


def _roll_out(
    server: Server, model: PinnedModel, reread: Callable[[], Server], *, local: bool
) -> tuple[Server, PinnedModel]:
    """Deploys the newly read settings; the old ones stay in force where the new ones fail."""
    try:
        wanted = reread()
        check_same_address(server, wanted)
        wanted_model = pinned_model(wanted.config.model, _check_config(wanted.config, local=local))
        _check_gpus(wanted.config)
        _check_runtime_env(wanted)
    except UserError as error:
        _note(f"not rolled out: {error}")
        return server, model
    if wanted == server:
        _note("nothing has changed")
        return server, model
    _note("rolling out; the old replicas serve until the new ones are ready")
    try:
        _deploy(wanted, wanted_model, "rolling out")
    except ServeFailedError as error:
        _note(f"rolled back: {error}")
        _deploy(server, model, "rolling back")
        return server, model
    _note("rolled out")
    return wanted, wanted_model


def check_same_address(before: Server, wanted: Server) -> None:
    """Raises UserError for a change that needs a restart."""
    old, new = before.needs_restart, wanted.needs_restart
    for name in old:
        if old[name] == new[name]:
            continue
        if name == "http_options":
            name = next(each for each in old[name] if old[name][each] != new[name][each])
        raise UserError(f"{name}: it needs a restart; the application's settings can be rolled out")


def _check_gate(server: Server) -> None:
    """Sends the server a request: a Serve that was running before may lack the gate, and then refuses everything."""
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host
    if server.file.http_options.is_tls:
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE  # it was issued for the server's public name
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, server.port, timeout=30, context=anybody
        )
    else:
        connection = http.client.HTTPConnection(host, server.port, timeout=30)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except OSError as error:
        raise ServeFailedError(f"nothing answers at {server.url} ({error})") from None
    finally:
        connection.close()
    if response.status != 200:
        raise ServeFailedError(f"the server is not ready: {_detail(body)}")


def _detail(body: str) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200]


def _say(server: Server, checkpoint: Checkpoint, *, local: bool) -> None:
    config = server.config
    _, warning = model_name(config.model, config.engine, checkpoint)
    print(
        f"serving {config.public_model_name(checkpoint)} on {server.url}   (API: /v1/detect, page: /, Ctrl-C stops)",
        flush=True,
    )
    _note(f"logs: {_logs_folder(server)}{'' if local else ', on every node'}")
    if warning:
        _note(f"warning: {warning}")
    if config.provenance:
        trust = trust_of(config)
        if words := NO_LISTS if trust is None else trust.warning():
            _note(f"note: {words}")
    if config.no_auth:
        _warn_of_open_access(server)


def _warn_of_open_access(server: Server) -> None:
    reach = "this machine" if server.host in _LOOPBACK else "the network"
    _note(f"warning: no key is needed; everybody on {reach} may use it")
    if not server.config.trusted_proxies:
        # Nothing else tells clients apart: what one of them owes, all would have to pay.
        _note("warning: name a reverse proxy in trusted_proxies: else all its clients share the limits of one")


def _logs_folder(server: Server) -> str:
    """Where the logs of proxies and replicas are."""
    from ray.serve._private.logging_utils import get_serve_logs_dir

    return server.file.logging_config.logs_dir or get_serve_logs_dir()


def _note(line: str) -> None:
    say(line, "fakescan.serve")


def cause_of(message: str) -> str:
    """The last line that says what went wrong, in Serve's message with the replica's traceback."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line and not line.startswith("File ")]
    # A setting's name comes first in a UserError, whose class tells nobody anything.
    return (errors or lines or ["no reason given"])[-1].removeprefix(f"{UserError.__module__}.{UserError.__name__}: ")


class _Signals:
    """The signals that have come, in order."""

    def __init__(self) -> None:
        self._came: list[str] = []
        self._arrived = threading.Event()

    def note(self, signum: int, frame: Any) -> None:
        """The handler."""
        self._came.append("reload" if signum == signal.SIGHUP else "stop")
        self._arrived.set()

    def wait(self) -> str:
        """Waits for the next signal: `reload` for SIGHUP, else `stop`, which takes precedence."""
        while not self._came:
            self._arrived.wait()
            self._arrived.clear()
        return "stop" if "stop" in self._came else self._came.pop(0)

    def wait_for_another(self, seconds: float) -> None:
        """Waits so long, or until somebody insists: a second signal to stop."""
        end = time.monotonic() + seconds
        while self._came.count("stop") < 2 and (left_s := end - time.monotonic()) > 0:
            self._arrived.wait(left_s)
            self._arrived.clear()


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Signals are noted, and interrupt nothing."""
    signals = _Signals()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signals.note) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
