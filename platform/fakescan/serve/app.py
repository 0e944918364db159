"""The Serve application: replicas with one engine each, and the control actor.

`import_path: fakescan.serve.app:build` in a Serve file, whose `args` are a `ServeConfig`. For `serve build`, `app` is
the application of the Serve file that FAKESCAN_SERVE_CONFIG names.
"""

import os
from pathlib import Path
from typing import Any

import ray
from pydantic import ValidationError
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig, RequestRouterConfig
from starlette.types import ASGIApp

from fakescan import tracing
from fakescan.cluster_nodes import connected_nodes
from fakescan.engine.model import PinnedModel
from fakescan.serve.config import ServeConfig
from fakescan.serve.gate.control_actor import ControlActor
from fakescan.serve.gate.control_client import CONTROL, REPLICA, GateTokens
from fakescan.serve.gate.fast_path import WholeRequest, WholeResponse, run_whole
from fakescan.settings.yaml_file import first_mistake
from fakevlm.errors import UserError

CONFIG_VARIABLE = "FAKESCAN_SERVE_CONFIG"

_CONTROL_CALLS = 1024
"""Calls of the control actor in flight; each takes a moment."""
_START_ATTEMPTS = 2
"""Starts of a replica that may fail before a deployment, or a rollout, counts as failed."""


@serve.ingress()
class Replica:
    """One engine behind one HTTP application."""

    def __init__(self, config: ServeConfig, control: Any, model: PinnedModel | None = None) -> None:
        """Loads the engine, and proves it with a verdict: until then Serve sends no request here."""
        from fakescan.serve.api.routes import make_app
        from fakescan.serve.detector import Detector
        from fakescan.serve.malloc import give_back_large_blocks
        from fakescan.serve.operation.replica_port import keep_replica_port_private
        from fakescan.serve.operation.serve_log import protect_serve_log, use_json_lines
        from fakescan.serve.operation.start_progress import StartReport
        from fakescan.serve.scans.jobs import ScanJobs

        keep_replica_port_private()
        protect_serve_log()
        replica = serve.get_replica_context().replica_id.unique_id
        use_json_lines(replica=replica)
        give_back_large_blocks()
        tracing.configure(config.otlp_endpoint, "replica")
        report = StartReport(replica)
        self._detector = detector = Detector(config, model, report)
        scans = ScanJobs(config.scans, config, detector.calibration) if config.scans is not None else None
        self._app = make_app(detector, scans, GateTokens(control).accept)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Serve's hook for the application of this replica."""
        return self._app

    def check_health(self) -> None:
        """Serve's hook: a replica whose engine has died, or is silent, is replaced."""
        self._detector.check_health()

    async def respond(self, request: WholeRequest) -> WholeResponse:
        """The application's response to a request that a gate sends by its fast path."""
        return await run_whole(self._app, request)


def build(args: dict[str, Any] | ServeConfig) -> Application:
    """The application for `args`. Serve takes a function of one parameter. Raises UserError for wrong ones."""
    return application(args if isinstance(args, ServeConfig) else _checked(args))


def _checked(args: dict[str, Any]) -> ServeConfig:
    try:
        return ServeConfig.model_validate(args)
    except ValidationError as error:
        raise UserError(first_mistake(error, command="serve", model=ServeConfig)) from None


def application(
    config: ServeConfig, model: PinnedModel | None = None, runtime_env: dict[str, Any] | None = None
) -> Application:
    """The application for settings, with the checkpoint that was opened for them, in a runtime environment of Ray."""
    config = config.model_copy(update={"gpus_per_replica": config.gpus_per_engine(cluster_gpus())})
    # Logs are configured for the whole application, where a Serve file can change it.
    environment = {"runtime_env": runtime_env} if runtime_env else {}
    control = serve.deployment(name=CONTROL)(ControlActor).options(
        num_replicas=1,
        max_ongoing_requests=_CONTROL_CALLS,
        max_surge_percent=100,
        ray_actor_options={"num_cpus": 0, **environment},
    )
    limits, replicas = config.limits, config.replicas
    scaling: dict[str, Any] = {"num_replicas": replicas.low}
    if replicas.high > replicas.low:
        scaling = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=replicas.low,
                max_replicas=replicas.high,
                target_ongoing_requests=config.target_ongoing_requests,
            )
        }
    detector = serve.deployment(name=REPLICA)(Replica).options(
        **scaling,
        max_ongoing_requests=limits.max_ongoing_requests,
        # More than the gate lets wait: requests that arrive at the same moment wait until each has a replica.
        max_queued_requests=limits.max_queued_requests + limits.max_ongoing_requests,
        # Serve asks a full replica again after pauses that grow to half a second, in which it falls idle.
        request_router_config=RequestRouterConfig.model_validate({"initial_backoff_s": 0.01, "max_backoff_s": 0.02}),
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1),
        max_surge_percent=100,
        max_constructor_retry_count=_START_ATTEMPTS,
        graceful_shutdown_timeout_s=limits.request_timeout_s + 5,
        health_check_period_s=5,
        health_check_timeout_s=30,
        ray_actor_options={
            "num_cpus": config.cpus_per_replica,
            "num_gpus": config.gpus_per_replica,
            **environment,
        },
    )
    bound: Application = detector.bind(config, control.bind(config), model=model)
    return bound


def cluster_gpus() -> float:
    """GPUs that the connected cluster has, or could add; 0 without one, as for `serve build`."""
    return connected_nodes().reachable_gpus if ray.is_initialized() else 0.0


def __getattr__(name: str) -> Application:
    if name != "app":
        raise AttributeError(name)
    from fakescan.serve.serve_file import read_serve_file

    file = os.environ.get(CONFIG_VARIABLE)
    if not file:
        raise UserError(f"{CONFIG_VARIABLE}: not set; name a Serve file such as cluster/serve.yaml")
    found = read_serve_file(Path(file))
    return application(_checked(found.args), runtime_env=found.runtime_env)
