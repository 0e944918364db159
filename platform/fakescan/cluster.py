"""Connects to a Ray cluster, or starts a local one that ends with this process."""

import importlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakescan.errors import JobFailedError
from fakescan.local_ray import chosen_parameters, prepare_environment, protect_token
from fakescan.terminal.json_logs.handlers import adopt_handlers
from fakescan.terminal.json_logs.output import JsonHandler, json_output
from fakescan.terminal.logs import ToLogFiles, hand_to_files, has_log_files, log_only_to_files
from fakevlm.errors import UserError, one_line

logger = logging.getLogger(__name__)

_LOCAL_CLUSTER = {
    # Ray ends idle workers beyond one per CPU after a second. A scan has more stages than a small machine has cores,
    # and a worker that comes back costs a second of CPU time for its imports.
    "num_workers_soft_limit": 64,
    "idle_worker_killing_time_threshold_ms": 600_000,
    # Ray gives every worker the niceness 15, which leaves no room to give some priority.
    "worker_niceness": 0,
}
"""Settings of Ray for a cluster of this process's own."""
_RAY_LOGGERS = ("ray", "ray.data", "ray.data.exceptions", "ray.anyscale")
_MAX_TMPDIR = 36
"""Bytes: the name of a socket may have 107, of which Ray's own part takes about 70."""
_ANSWER_S = 10.0
"""Seconds in which a cluster's address must accept a connection."""


@dataclass
class _Sessions:
    """What `connect` and `ray_session` know of each other."""

    depth: int = 0
    """Sessions that are open, one within the other."""
    is_connected: bool = False
    """Whether it was `connect` that connected this process."""


_sessions = _Sessions()


@contextmanager
def ray_session(ending: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Ends, with the outermost of its kind, the connection that `connect` makes within; `ending` is called before.

    Without it Ray is shut down as the interpreter ends, which is seconds after a command has said its last line.
    """
    _sessions.depth += 1
    try:
        yield
    finally:
        _sessions.depth -= 1
        if _sessions.depth == 0 and _sessions.is_connected:
            ending()
            disconnect()


def names_cluster(address: str | None) -> bool:
    """Whether `connect` would join a cluster rather than start Ray on this machine."""
    return (address or os.environ.get("RAY_ADDRESS") or "local") != "local"


def connect(
    address: str | None = None,
    *,
    verbose: bool = False,
    data: bool = True,
    cpus: int | None = None,
    dashboard: bool = False,
) -> None:
    """Connect to `address`, else to RAY_ADDRESS (set inside a Ray job), else start Ray on this machine.

    `data`: Ray Data will be used. A Ray of our own has `cpus` logical CPUs (default: as many as the machine, at least
    two) and, with `dashboard`, a job server. Raises UserError when the address does not answer.
    """
    # Ray's own warnings about settings that are chosen here on purpose would bury the one line that matters.
    if not verbose:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Ray Data lets stages run ahead of the next one until half of the object store is full, which is all images of a
    # small scan and hours of a big one: the engine would wait for cores first, and the cores for the engine at the end.
    # Ray reads this when Ray Data is imported.
    os.environ.setdefault("RAY_DATA_DOWNSTREAM_CAPACITY_OBJECT_STORE_BUDGET_UTIL_THRESHOLD", "0")
    output = json_output()
    if output is not None:
        # Ray leaves out lines that are like others of the last seconds, in which it finds no words in JSON.
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    local = not names_cluster(address)
    if local:
        prepare_environment()
    import ray

    if ray.is_initialized():
        return
    _sessions.is_connected = True  # also when Ctrl-C comes before Ray has started
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # Ray's processes take seconds to start; this import takes one of them meanwhile.
    loading = threading.Thread(target=importlib.import_module, args=("ray.data" if data else "ray.serve",))
    loading.start()
    options: dict[str, Any] = {
        "logging_level": logging.INFO if verbose else logging.ERROR,
        "log_to_driver": verbose or has_log_files(),
        "job_config": _job_config(),
    }
    if output is not None:
        from fakescan.terminal.json_logs.ray_logs import WorkerLogs, wrap_worker_lines

        options["logging_config"] = WorkerLogs(verbose=verbose or has_log_files(), redact=output.redact)
        wrap_worker_lines()
        adopt_handlers(JsonHandler(output))
    if local:
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
        options |= {"num_cpus": cpus or max(2, os.cpu_count() or 1), "include_dashboard": dashboard}
        options |= _short_temporary_folder()
        protect_token()
        try:
            lean = chosen_parameters(dashboard=dashboard, workers_logs=options["log_to_driver"])
            with _quiet_stderr(verbose), lean:
                ray.init(address="local", _system_config=_LOCAL_CLUSTER, **options)
        except Exception as error:
            if type(error) not in (Exception, RuntimeError):  # what Ray raises when its processes take too long
                raise
            raise JobFailedError(f"Ray does not start on this machine: {one_line(error)}") from error
    else:
        address = address or os.environ["RAY_ADDRESS"]
        _refuse_silent(address)
        try:
            with _quiet_stderr(verbose):
                ray.init(address=address, **options)
        except (ConnectionError, ValueError) as error:
            raise UserError(f"ray address: no cluster answers at {address!r} ({one_line(error)})") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put one in its place that exits with status 15
    loading.join()
    if output is not None:
        adopt_handlers(JsonHandler(output))
    _quiet_data(verbose)
    if has_log_files():
        _copy_to_files()
    if local:
        (node,) = ray.nodes()  # type: ignore[no-untyped-call]
        logger.info("metrics: http://%s:%s/metrics", node["NodeManagerAddress"], node["MetricsExportPort"])


def disconnect() -> None:
    """End what `connect` has begun; a Ray of this process's own is gone when it returns."""
    import ray

    _sessions.is_connected = False
    ray.shutdown()


def _job_config() -> Any:
    """Settings of this driver: its workers find our packages, and nothing else that lies in the current folder.

    Ray puts the driver's current folder before the installed packages of every worker: a `numpy.py` there would be
    imported for numpy. None inside a Ray job, whose settings come with it.
    """
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return None
    from ray.job_config import JobConfig

    import fakevlm

    ours = dict.fromkeys(str(Path(package).resolve().parents[1]) for package in (__file__, fakevlm.__file__))
    return JobConfig(_client_job=True, _py_driver_sys_path=list(ours))


def _short_temporary_folder() -> dict[str, str]:
    """Where Ray keeps its sockets if TMPDIR is too long for their names. Raises UserError where there is no other."""
    folder = tempfile.gettempdir()
    if "RAY_TMPDIR" in os.environ or len(os.fsencode(folder)) <= _MAX_TMPDIR:
        return {}
    if not os.access("/tmp", os.W_OK | os.X_OK):
        raise UserError(
            f"TMPDIR: {folder} has more than {_MAX_TMPDIR} characters, which leaves too few for the names of Ray's "
            "sockets, and /tmp cannot be written to; set TMPDIR to a shorter folder"
        )
    return {"_temp_dir": "/tmp/ray"}


def _refuse_silent(address: str) -> None:
    """Raise UserError when nothing listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise UserError(f"ray address: no cluster answers at {address!r} ({error})") from None


def _quiet_data(verbose: bool) -> None:
    """Ray Data logs its plan and every failure at length; keep the terminal for the scan's own words."""
    import ray._private.worker

    # log_to_driver=False spares what Ray prints of dead workers, on stdout; there is no public setting for it.
    ray._private.worker._worker_logs_enabled = verbose
    for name in _RAY_LOGGERS[1:]:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.CRITICAL)


def _copy_to_files() -> None:
    """Have the log files get what Ray logs and what its workers print, and the terminal what it got before."""
    from ray._private.ray_logging import global_worker_stdstream_dispatcher

    for name in _RAY_LOGGERS:
        ours = logging.getLogger(name)
        for handler in ours.handlers:
            handler.setLevel(max(handler.level, ours.level))
        ours.setLevel(logging.INFO)
        if not ours.propagate:
            ours.addHandler(ToLogFiles(logging.INFO))
    global_worker_stdstream_dispatcher.add_handler("fakescan log files", _log_worker)


def _log_worker(printed: dict[str, Any]) -> None:
    """Log the lines that a worker has printed."""
    if printed.get("pid") == "autoscaler":  # a page on the state of the cluster, every few seconds
        return
    if json_output() is not None:
        from fakescan.terminal.json_logs.ray_logs import worker_records

        for record in worker_records(printed):
            hand_to_files(record)
        return
    who = printed.get("actor_name") or printed.get("task_name") or "worker"
    for line in printed["lines"]:
        log_only_to_files(logging.INFO, f"{who} (pid {printed.get('pid')}): {line}", name="fakescan.workers")


@contextmanager
def _quiet_stderr(verbose: bool) -> Iterator[None]:
    """Ray's C++ core announces its log level on the process's stderr; failures still arrive as exceptions."""
    if verbose:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def lasting_actor_options() -> dict[str, Any]:
    """Options of an actor that this driver owns and that must outlive all others.

    It takes no CPUs, stays on the driver's node, which does not go while the driver lives, and is started again there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
