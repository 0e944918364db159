"""An engine's metrics: our own, of every kind of engine, and vLLM's through Ray."""

import threading
import weakref
from typing import Any

from fakescan.engine.contract import Engine
from fakescan.telemetry.metric import Counter, Gauge, forget, is_connected

SERVE = "serve"
"""The label `run` of a server's engines."""

REQUESTS = Gauge(
    "fakescan_engine_requests", "Requests running in an engine at once, on average over its latest steps.", "run"
)
MAX_REQUESTS = Gauge("fakescan_engine_max_requests", "Requests that an engine runs at once: max_num_seqs.", "run")
STEPS = Counter("fakescan_engine_steps", "Steps of engines; of vLLM in its own process, requests that ended.", "run")
BUSY = Counter("fakescan_engine_busy_seconds", "Seconds that engines spent in steps, where it is known.", "run")

_LOOK_S = 5.0


def record_engine(engine: Engine, run: str) -> None:
    """Record the engine every few seconds for as long as somebody else holds it; nothing without Ray."""
    if is_connected():
        arguments = weakref.ref(engine), run
        threading.Thread(target=_record, args=arguments, name="engine-metrics", daemon=True).start()


def _record(engine: "weakref.ref[Engine]", run: str) -> None:
    pause = threading.Event()
    steps, running, busy_s = 0, 0, 0.0
    while (here := engine()) is not None:
        stats, most = here.stats, here.max_num_seqs
        del here
        now = stats.steps, stats.running, stats.busy_s
        ended = now[0] - steps
        REQUESTS.set((now[1] - running) / ended if ended else 0.0, run=run)
        MAX_REQUESTS.set(most, run=run)
        STEPS.add(ended, run=run)
        BUSY.add(now[2] - busy_s, run=run)
        steps, running, busy_s = now
        pause.wait(_LOOK_S)
    forget(run=run)


def vllm_stat_loggers() -> list[Any]:
    """What hands vLLM's own metrics to Ray, for an engine in one of Ray's workers; nothing elsewhere.

    A driver has none: its engine is a command's own, and ends with it.
    """
    if not is_connected():
        return []
    import ray

    if ray.get_runtime_context().worker.mode != ray.WORKER_MODE:
        return []
    from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger

    return [RayPrometheusStatLogger]
