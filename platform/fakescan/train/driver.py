"""A training from its settings to its result: checks, Ray Train, progress, log."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakescan.cluster import connect
from fakescan.errors import JobFailedError
from fakescan.storage.url import file_path, scheme_of
from fakescan.train.check import Ready, check, checkpoint_bytes, memory_per_worker
from fakescan.train.checkpoints import arrow_filesystem
from fakescan.train.config import TrainConfig
from fakescan.train.export import FOLDER
from fakescan.train.folder import TrainFolder, joined
from fakescan.train.loop import Job, train_worker
from fakescan.train.metrics_actor import StepMetrics, start_metrics_actor
from fakescan.train.progress import TrainDisplay
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

POLL_S = 0.5
"""Seconds between two looks at the board."""
SAVE_S = 30.0
"""Seconds between two writes of the log."""


class TrainFailedError(JobFailedError):
    """The training ended without its result; the message is one line."""


@dataclass(frozen=True)
class Trained:
    """What a training left."""

    url: str
    """Of the run's folder."""
    model: str
    """URL of the result."""
    notes: list[StepMetrics]
    """The log, one note for each step."""
    ready: Ready


def run_train(config: TrainConfig, *, ray_address: str | None = None, verbose: bool = False) -> Trained:
    """Train, or go on where an earlier start of the same run stopped. Raises UserError before any worker starts."""
    config = absolute(config)
    ready = check(config)
    folder = TrainFolder(config)
    with folder.lease():
        return _train(config, ready, folder, ray_address, verbose=verbose)


def _train(
    config: TrainConfig, ready: Ready, folder: TrainFolder, ray_address: str | None, *, verbose: bool
) -> Trained:
    connect(ray_address, verbose=verbose)
    gpus = _gpus(config)
    precision = "bf16" if config.precision == "auto" and gpus else config.precision
    precision = "fp32" if precision == "auto" else precision
    facts = {"weights_sha256": ready.checkpoint.weights_sha256, "samples": ready.plan.samples, "precision": precision}
    folder.claim(facts)
    _say_needs(config, ready, gpu=gpus > 0)
    board = start_metrics_actor()
    job = Job(
        config.model_copy(
            update={
                "data_store": config.data_store.resolved(),
                "model_store": config.model_store.resolved(),
                "storage_store": config.storage_store.resolved(),
            }
        ),
        gpus > 0,
        board,
        ready.split,
        ready.eval_split,
    )
    log = _Log(board, folder, folder.notes())
    with TrainDisplay(ready.plan.steps) as display, log.followed(display):
        _fit(config, job, folder, gpus, verbose=verbose)
    return Trained(folder.url, f"{folder.url}/{FOLDER}", log.notes, ready)


def absolute(config: TrainConfig) -> TrainConfig:
    """The same with full local paths: Ray Train's workers run in a folder of their own."""
    places: dict[str, Any] = {
        name: str(Path(file_path(getattr(config, name))).absolute())
        for name in ("data", "storage_path")
        if scheme_of(getattr(config, name)) == "file"
    }
    model = Path(config.model).expanduser()
    return config.model_copy(update={**places, **({"model": str(model.absolute())} if model.exists() else {})})


def _fit(config: TrainConfig, job: Job, folder: TrainFolder, gpus: float, *, verbose: bool) -> None:
    import ray
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig

    resources = {"CPU": config.cpus_per_worker, **({"GPU": gpus} if gpus else {})}
    run_config: Any = RunConfig(  # the trainer's own annotation still names the one of Ray Train's first version
        name=config.name,
        checkpoint_config=CheckpointConfig(num_to_keep=config.keep),
        # Workers that find no room on the cluster are waited for a minute, ten times.
        failure_config=FailureConfig(max_failures=config.max_failures, controller_failure_limit=10),
        logging_config=LoggingConfig(log_level="INFO" if verbose else "CRITICAL"),
        **_storage(config),
    )
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(num_workers=config.workers, use_gpu=gpus > 0, resources_per_worker=resources),
        run_config=run_config,
    )
    failure: Exception | None = None
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit()
    except (TrainingFailedError, RayError) as error:
        logger.info("the training failed", exc_info=error)
        failure = error
    except SystemExit:
        raise KeyboardInterrupt from None  # Ray Train ends an interrupted process with status 0
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)
    with suppress(RayError):
        fault = ray.get(job.board.fault.remote())
        if fault is not None:
            raise UserError(fault) from failure
    if failure is not None:
        raise TrainFailedError(f"the training stopped: {_last_line(failure)} (--verbose shows the logs)") from failure


def _storage(config: TrainConfig) -> dict[str, Any]:
    """Where Ray Train keeps checkpoints: through our own file system, which knows endpoint and credentials."""
    if scheme_of(config.storage_path) == "file":
        return {"storage_path": config.storage_path}
    return {
        "storage_path": config.storage_store.filesystem(config.storage_path)[1],
        "storage_filesystem": arrow_filesystem(config.storage_store.resolved(), config.storage_path),
    }


def _gpus(config: TrainConfig) -> float:
    """GPUs for one worker, after checking that the cluster has room for all workers."""
    import ray

    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    wanted = config.gpus_per_worker if config.gpus_per_worker is not None else (1.0 if gpus else 0.0)
    for name, each, has in (("CPUs", config.cpus_per_worker, cpus), ("GPUs", wanted, gpus)):
        if each * config.workers > has:
            raise UserError(
                f"workers: {config.workers} workers with {each:g} {name} each need {each * config.workers:g} {name}, "
                f"the cluster has {has:g}; lower workers"
            )
    if config.quantize and not wanted:
        raise UserError("quantize: nf4 needs GPUs, and the cluster has none; leave quantize out")
    return wanted


def _say_needs(config: TrainConfig, ready: Ready, *, gpu: bool) -> None:
    """Print what the run is and what it will take; warn where the machine has less memory than the states need."""
    bf16 = config.precision == "bf16" or (config.precision == "auto" and gpu)
    memory = memory_per_worker(config, ready.parameters, bf16=bf16)
    plan = ready.plan
    print(
        f"{plan.samples:,} samples, {plan.steps:,} steps of {config.batch_size}; at most {ready.longest} tokens; "
        f"{sum(ready.parameters.values()) / 1e6:,.1f} M weights; about {memory / 1e9:.2f} GB of weights, gradients and "
        f"states per worker, besides activations; a checkpoint takes about "
        f"{checkpoint_bytes(config, ready.parameters) / 1e9:.2f} GB"
    )
    if not gpu:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if memory * config.workers > there:
            logger.warning(
                "workers: %d workers need about %.1f GB, this machine has %.1f GB",
                config.workers, memory * config.workers / 1e9, there / 1e9,
            )  # fmt: skip


class _Log:
    """Moves the workers' notes from the board to the display and into the run's folder."""

    def __init__(self, board: Any, folder: TrainFolder, before: list[StepMetrics]) -> None:
        self._board = board
        self._folder = folder
        self.notes = before

    @contextmanager
    def followed(self, display: TrainDisplay) -> Iterator[None]:
        """Follow the board on a thread; at the end everything is written, whatever ended it."""
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(display, ended), name="board", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(60)

    def _follow(self, display: TrainDisplay, ended: threading.Event) -> None:
        waited = 0.0
        changed = False
        while True:
            last = ended.wait(POLL_S)
            changed |= self._move(display)
            waited += POLL_S
            if last or (changed and waited >= SAVE_S):
                try:
                    self._folder.save(self.notes, final=last)
                except OSError as error:  # the store, after all retries; the training itself goes on
                    logger.warning("the log could not be written: %s", error)
                waited, changed = 0.0, False
            if last:
                return

    def _move(self, display: TrainDisplay) -> bool:
        import ray
        from ray.exceptions import RayError

        try:
            fresh: list[StepMetrics] = ray.get(self._board.take.remote(), timeout=30)
        except RayError:
            return False
        for note in fresh:
            display.add(note)
        if fresh:
            self.notes = joined(self.notes, fresh)
        return bool(fresh)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
