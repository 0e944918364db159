"""A training from its settings to its result: checks, Ray Train, progress, log."""

import logging
import os
import signal
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakescan.cluster import connect, lasting_actor_options
from fakescan.cluster_nodes import connected_nodes
from fakescan.errors import JobFailedError
from fakescan.storage.lease import Lease
from fakescan.storage.preflight import check_writable_without_trace
from fakescan.storage.url import file_path, redact, redact_text, scheme_of
from fakescan.telemetry.train_metrics import TrainMetrics
from fakescan.terminal.json_logs.fields import set_process_fields
from fakescan.train.checkpoints.arrow_filesystem import arrow_filesystem
from fakescan.train.config import TrainConfig
from fakescan.train.failure import RESUME, Ending, cause_of, lost_worker, worker_death
from fakescan.train.folder import MODEL, TENSORBOARD, TrainFolder
from fakescan.train.loop import Job, train_worker
from fakescan.train.metrics_actor import Cause, MetricsActor, StepMetrics, TrainResult
from fakescan.train.preflight.check import Preflight, check, check_inputs
from fakescan.train.preflight.inputs import Inputs, open_inputs
from fakescan.train.preflight.needs import Needs
from fakescan.train.preflight.reading_cost import ReadingCost, reading_cost
from fakescan.train.progress import Follower, TrainDisplay
from fakescan.train.sampling.classes import classes_of
from fakescan.train.selection import Selection
from fakescan.train.tracking.live_log import LiveLog
from fakescan.train.tracking.parameters import parameters
from fakescan.train.tracking.services import check_trackers, trackers_of
from fakescan.train.tracking.tracker import TrackedRun
from fakescan.train.tracking.trackers import TrackerIds, Trackers
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)


class TrainFailedError(JobFailedError):
    """The training ended without its result; the message is one line."""


@dataclass(frozen=True)
class TrainOutcome:
    """How a training ended."""

    url: str
    """Address of the run's folder."""
    model: str
    """Address of the resulting checkpoint."""
    log: list[StepMetrics]
    """One entry for each step, those of earlier starts included."""
    result: TrainResult
    is_new: bool = True
    """False where the run had been finished before: then nothing was done."""
    restarts: int = 0
    """Times that the workers were started again."""
    tracked_at: tuple[str, ...] = ()
    """Where trackers show the run, each with its name."""


@dataclass(frozen=True)
class DryRun:
    """What a training would be and take."""

    inputs: Inputs
    preflight: Preflight
    finished: TrainResult | None
    """What the run says of itself where there is nothing left to do."""
    needs: Needs
    reading: ReadingCost | None
    """What augmentation costs; None where there is none."""


def run_train(config: TrainConfig, *, ray_address: str | None = None, verbose: bool = False) -> TrainOutcome:
    """Train, or go on where an earlier start of the same run stopped. Raises UserError before any worker starts.

    A run that is finished stays as it is: nothing is written.
    """
    import ray

    config = absolute(config)
    check_trackers(config.trackers)
    inputs = open_inputs(config)
    folder = TrainFolder(config)
    model = f"{folder.url}/{MODEL}"
    if (result := folder.finished(inputs.facts)) is not None:
        return TrainOutcome(folder.url, model, folder.log(), result, is_new=False)
    preflight = check(config, inputs)
    set_process_fields(run=redact(folder.url), run_id=None)
    with folder.lease() as lease:
        connect(ray_address, verbose=verbose)
        gpus = _gpus(config)
        bf16 = config.uses_bf16(gpu=gpus > 0)
        facts = {"precision": "bf16" if bf16 else "fp32", "bad_images": sorted(preflight.bad_images)}
        facts = {**inputs.facts, **facts}
        bad_images = folder.claim(facts)
        needed = preflight.needs(config, inputs, bf16=bf16)
        _say_needs(config, inputs, preflight, needed, gpu=gpus > 0)
        stores = {name: getattr(config, name).resolved() for name in ("data_store", "model_store", "storage_store")}
        resolved = config.model_copy(update=stores)
        with tempfile.TemporaryDirectory(prefix="fakescan-") as local:
            options = lasting_actor_options()
            metrics_actor = ray.remote(**options)(MetricsActor).remote(str(Path(local, "journal.jsonl")))
            job = Job(
                resolved,
                gpus > 0,
                metrics_actor,
                inputs.split,
                inputs.eval_split,
                lease_owner=lease.owner,
                bad_images=bad_images,
                needs=needed,
            )
            metrics = TrainMetrics(config.name, inputs.plan.steps, inputs.plan.steps_per_epoch)
            live_log = LiveLog(folder, Path(local, TENSORBOARD))
            log = folder.log()
            trackers = _trackers(config, folder, facts, log)
            follower = Follower(metrics_actor, log, lease, metrics, config.max_failures, live_log, trackers)
            try:
                with TrainDisplay(inputs.plan.steps) as display, follower.following(display):
                    trackers.start()
                    result = _fit(config, job, lease, gpus, verbose=verbose)
                folder.finish(result)
            except BaseException as error:
                is_failure = isinstance(error, Exception)
                why = {"failure": redact_text(str(error))} if is_failure else {}
                trackers.close("failed" if is_failure else "interrupted", {"restarts": follower.restarts, **why})
                raise
            trackers.close("finished", {"restarts": follower.restarts, **_facts_of(result)})
    tracked_at = tuple(trackers.places)
    return TrainOutcome(folder.url, model, follower.log, result, restarts=follower.restarts, tracked_at=tracked_at)


def _trackers(config: TrainConfig, folder: TrainFolder, facts: dict[str, Any], log: list[StepMetrics]) -> Trackers:
    run = TrackedRun(
        name=config.name,
        url=redact(folder.url),
        parameters=parameters(config, facts),
        folder=folder.path if scheme_of(folder.url) == "file" else None,
        last_step=log[-1].step if log else 0,
    )
    return Trackers(trackers_of(config.trackers), run, TrackerIds(folder.fs, folder.path))


def _facts_of(result: TrainResult) -> dict[str, Any]:
    """What a tracker is told of a run that has its model."""
    final = {f"final.{name.removeprefix('eval_')}": value for name, value in result.metrics.items()}
    return {**result.model_dump(exclude={"metrics"}, exclude_none=True), **final}


def dry_run(config: TrainConfig) -> DryRun:
    """The checks of `run_train` and what the run would take; nothing is written, and Ray is not started.

    Raises UserError as `run_train` does. Number types are those of GPUs where `gpus_per_worker` is above 0.
    """
    config = absolute(config)
    check_trackers(config.trackers)
    inputs = open_inputs(config)
    check_writable_without_trace(config.storage_path, config.storage_store)
    finished = TrainFolder(config).finished(inputs.facts)
    preflight = check_inputs(config, inputs)
    bf16 = config.uses_bf16(gpu=bool(config.gpus_per_worker))
    return DryRun(inputs, preflight, finished, preflight.needs(config, inputs, bf16=bf16), reading_cost(inputs.samples))


def absolute(config: TrainConfig) -> TrainConfig:
    """The same with full local paths: Ray Train's workers run in a folder of their own."""
    paths: dict[str, Any] = {
        name: str(Path(file_path(getattr(config, name))).absolute())
        for name in ("data", "storage_path")
        if scheme_of(getattr(config, name)) == "file"
    }
    model = Path(config.model).expanduser()
    return config.model_copy(update={**paths, **({"model": str(model.absolute())} if model.exists() else {})})


def _fit(config: TrainConfig, job: Job, lease: Lease, gpus: float, *, verbose: bool) -> TrainResult:
    import ray
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig

    selection = Selection(config.best_by, config.patience)
    resources = {"CPU": config.cpus_per_worker, **({"GPU": gpus} if gpus else {})}
    run_config: Any = RunConfig(  # the trainer's own annotation still names the one of Ray Train's first version
        name=config.name,
        checkpoint_config=CheckpointConfig(
            num_to_keep=config.keep,
            checkpoint_score_attribute=selection.attribute,
            checkpoint_score_order=selection.order,
        ),
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
    if failure is None or lease.is_lost:  # that of a run that has failed may be in the store that is away
        lease.check()
    fault, causes, result, starts = None, [], None, 0
    with suppress(RayError):
        actor = job.metrics_actor
        calls = [actor.fault.remote(), actor.causes.remote(), actor.result.remote(), actor.progress.remote()]
        fault, causes, result, progress = ray.get(calls)
        starts = progress.starts
    if fault is not None:
        raise (UserError if fault.is_mistake else TrainFailedError)(fault.message) from failure
    # Ray's own part writes down what checkpoints there are.
    own = cause_of(failed, config) if (failed := getattr(failure, "controller_failure", None)) is not None else None
    if isinstance(own, Ending):
        raise TrainFailedError(str(own)) from failure
    if failure is not None:
        raise TrainFailedError(
            f"the training stopped: {_why(failure, [cause for cause in causes if cause.start == starts], own, config)}"
        ) from failure
    if result is None:
        raise TrainFailedError("the training stopped before its model was written; the same command resumes")
    found: TrainResult = result
    return found


def _why(failure: Exception, causes: list[Cause], own: str | None, config: TrainConfig) -> str:
    """The first cause of the last failure, in one line: a worker's death, what a worker said, or what Ray says.

    `causes` are what workers have said at the last start, `own` what stopped Ray's own part.
    """
    failures = getattr(failure, "worker_failures", {})
    why = worker_death(failures)
    if why is None and causes:
        why = causes[0].message
    if why is None:
        why = lost_worker(failures, config.workers)
    if why is None:
        why = own
    if why is None:
        return f"{_last_line(failure)} (--verbose shows the logs)"
    return f"{why.removesuffix(f'; {RESUME}')}; {RESUME} at the last checkpoint (--verbose shows the logs)"


def _storage(config: TrainConfig) -> dict[str, Any]:
    """Where Ray Train keeps checkpoints: through our own file system, with endpoint, credentials and patience."""
    return {
        "storage_path": config.storage_store.filesystem(config.storage_path)[1],
        "storage_filesystem": arrow_filesystem(config.storage_store.resolved(), config.storage_path),
    }


def _gpus(config: TrainConfig) -> float:
    """GPUs for one worker, after checking that the cluster has room for all workers, or may grow to have it."""
    cluster = connected_nodes()
    default = 1.0 if cluster.reachable_gpus else 0.0
    wanted = config.gpus_per_worker if config.gpus_per_worker is not None else default
    rooms = {"CPUs": (config.cpus_per_worker, cluster.cpus, cluster.max_cpus)}
    rooms["GPUs"] = (wanted, cluster.gpus, cluster.max_gpus)
    for name, (each, has, most) in rooms.items():
        if each * config.workers > most:
            raise UserError(
                f"workers: {config.workers} workers with {each:g} {name} each need {each * config.workers:g} {name}, "
                f"the cluster has {has:g}; lower workers"
            )
    if config.quantize and not wanted:
        raise UserError("quantize: nf4 needs GPUs, and the cluster has none; leave quantize out")
    return wanted


def _say_needs(config: TrainConfig, inputs: Inputs, preflight: Preflight, needed: Needs, *, gpu: bool) -> None:
    """Print what the run is and what it will take; warn where the machine has less memory than the states need."""
    print(needs_line(config, inputs, preflight, needed))
    for line in sampling_lines(config, inputs):
        print(line)
    if not gpu:
        memory, available = needed.states * config.workers, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if memory > available:
            logger.warning(
                "workers: %d workers need about %.1f GB, this machine has %.1f GB",
                config.workers, memory / 1e9, available / 1e9,
            )  # fmt: skip


def needs_line(config: TrainConfig, inputs: Inputs, preflight: Preflight, needed: Needs) -> str:
    """What a run is and what it takes, in a line."""
    plan = inputs.plan
    gone = len(inputs.samples.skipped)
    drawn = f", {plan.epoch_samples:,} drawn in an epoch" if plan.epoch_samples != plan.samples else ""
    return (
        f"{plan.samples:,} samples{f', {gone:,} of them left out' if gone else ''}{drawn}, {plan.steps:,} steps of "
        f"{config.batch_size}; at most {preflight.longest} tokens; {sum(preflight.parameters.values()) / 1e6:,.1f} M "
        f"weights; about {needed.states / 1e9:.2f} GB of weights, gradients and states per worker, and roughly "
        f"{needed.activations / 1e9:.2f} GB of activations; a checkpoint takes about {needed.checkpoint / 1e9:.2f} GB"
    )


def sampling_lines(config: TrainConfig, inputs: Inputs) -> list[str]:
    """What is shown of the records but as they are, a line for each such setting."""
    lines = []
    if config.augment is not None:
        lines.append(f"augmentation: {inputs.samples.augmentation}; held-out images stay as they are")
    if config.balance is not None or config.class_weights is not None:
        lines.append(f"classes: {classes_of(inputs.samples.dataset.records, config.balance, config.class_weights)}")
    return lines


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
