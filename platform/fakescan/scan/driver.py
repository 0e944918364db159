"""Runs a scan from its configuration to its summary: check, open or start the run, plan, execute, account."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fakescan.cluster import connect
from fakescan.engine.judging_options import JudgingOptions
from fakescan.errors import JobFailedError
from fakescan.run.counts import Counts
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile, refuse_change
from fakescan.scan.config import ScanConfig
from fakescan.scan.explicit_images import ExplicitImages
from fakescan.scan.judge import JudgeSettings
from fakescan.scan.ledger import remote_ledger
from fakescan.scan.pipeline import FEED_CPUS, Pipeline
from fakescan.scan.prepare import check, identity_of, start_run
from fakescan.scan.progress import Display
from fakescan.scan.stages import Decode, Fetch, Write
from fakescan.scan.tables import PartSummary
from fakescan.storage.lease import Lease
from fakescan.storage.url import scheme_of
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

Observer = Callable[[PartSummary], None]


class ScanFailedError(JobFailedError):
    """The scan ended before all rows were accounted for; the message is one line. The run can be resumed."""


@dataclass
class ScanOutcome:
    """How a scan ended."""

    run: RunFile
    url: str
    scanned: Counts = field(default_factory=Counts)
    """Rows that this scan did."""
    whole: Counts = field(default_factory=Counts)
    """Rows of the whole run, those of earlier scans included."""
    examples: dict[str, str] = field(default_factory=dict)
    """For each error code of this scan, one URI and message."""
    seconds: float = 0.0
    """From the start of the command to the last part."""
    startup_s: float = 0.0
    """From the start of the command to the first part."""
    account: list[str] = field(default_factory=list)
    """Lines for people about what of the source became no row."""

    @property
    def error_rate(self) -> float:
        """Share of the run's rows that ended in an error."""
        return self.whole.failed / self.whole.rows if self.whole.rows else 0.0

    @property
    def steady_rate(self) -> float | None:
        """Images per second after the first part; None for a single part."""
        seconds = self.seconds - self.startup_s
        return self.scanned.rows / seconds if seconds > 0 and self.scanned.rows > self.run.shard_rows else None


def run_scan(
    config: ScanConfig,
    *,
    ray_address: str | None = None,
    verbose: bool = False,
    observe: Observer | None = None,
    images: ExplicitImages | None = None,
    display: bool = True,
) -> ScanOutcome:
    """Scan, or resume what an earlier scan left. Raises UserError before any engine starts when a setting is wrong.

    With `images`, those are judged, and `config.source` is only what the run says it is of. Progress is
    shown on stderr unless `display` is off.
    """
    started = time.monotonic()
    checkpoint = check(config)
    options = config.options(checkpoint, config.explain, config.output_store)
    identity = identity_of(config, checkpoint, options, images)
    folder = RunFolder(config.output, config.output_store)
    run = folder.load()
    if run is not None:
        refuse_change(folder.url, run, identity, config.shard_rows)
    lease = Lease(folder.fs, f"{folder.path}/lease.json")
    lease.acquire(force=config.break_lease)
    try:
        run = folder.load() or start_run(config, folder, identity, checkpoint, images)
        if run.warning:
            logger.warning("%s", run.warning)
        outcome = ScanOutcome(run, folder.url, account=folder.manifest().info.account())
        for line in outcome.account:
            logger.warning("%s", line)
        todo, done = plan(folder, run, retry_errors=config.retry_errors)
        with ThreadPoolExecutor(2, thread_name_prefix="count") as pool:
            # What earlier scans did is counted while the engines start.
            kept = np.setdiff1d(done, todo)
            before = pool.map(folder.counts_of, kept.tolist())
            try:
                if len(todo):
                    connect(ray_address, verbose=verbose)
                    pipeline = build_pipeline(config, folder, run, options, checkpoint)
                    rows_before = sum(run.sharding.size(shard) for shard in kept.tolist())
                    _execute(pipeline, todo, rows_before, outcome, lease, observe, started, display=display)
                for counts in before:
                    outcome.whole.add(counts)
            except BaseException:
                # Ctrl-C does not wait until a million footers are read.
                pool.shutdown(cancel_futures=True)
                raise
        _account(folder, run, np.intersect1d(done, todo), outcome)
    finally:
        lease.release()
    return outcome


def plan(folder: RunFolder, run: RunFile, *, retry_errors: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The shards to do, and those that earlier scans have done: one listing."""
    todo = folder.missing(run.sharding)
    done = np.setdiff1d(np.arange(run.sharding.count), todo)
    if retry_errors and len(done):
        failed = [counts.failed > 0 for counts in folder.counts(done.tolist())]
        todo = np.union1d(todo, done[np.array(failed)])
    return todo, done


def _execute(
    pipeline: Pipeline,
    todo: NDArray[np.int64],
    rows_before: int,
    outcome: ScanOutcome,
    lease: Lease,
    observe: Observer | None,
    started: float,
    *,
    display: bool,
) -> None:
    shown = Display(outcome.run.rows, rows_before) if display else None
    with shown or nullcontext():
        for part in _guarded(pipeline.run(todo, remote_ledger())):
            lease.check()
            if part.counts.rows == 0:
                continue
            outcome.seconds = time.monotonic() - started
            outcome.startup_s = outcome.startup_s or outcome.seconds
            outcome.scanned.add(part.counts)
            for code, example in part.examples.items():
                outcome.examples.setdefault(code, example)
            if shown is not None:
                shown.add(part)
            if observe is not None:
                observe(part)


def _account(folder: RunFolder, run: RunFile, retried: NDArray[np.int64], outcome: ScanOutcome) -> None:
    """Count the whole run, and make sure that no part is missing."""
    left = folder.missing(run.sharding)
    if len(left):
        raise ScanFailedError(f"{len(left)} parts are missing at the end; run the same command again to resume")
    outcome.whole.add(outcome.scanned)
    if len(retried):
        # Retried parts kept their good rows, which were not scanned again: count what is there.
        outcome.whole = Counts()
        for counts in folder.counts(range(run.sharding.count)):
            outcome.whole.add(counts)


def build_pipeline(
    config: ScanConfig, folder: RunFolder, run: RunFile, options: JudgingOptions, checkpoint: Checkpoint
) -> Pipeline:
    """The stages for a run on the connected cluster."""
    folder = RunFolder(folder.url, config.output_store.resolved())
    gpus = _gpus_per_replica(config)
    return Pipeline(
        fetch=Fetch(
            folder,
            run,
            config.input_store.resolved(),
            config.max_bytes,
            config.fetch_concurrency,
            config.fetch_timeout_s,
            config.retry_errors,
        ),
        decode=Decode(checkpoint.image, config.max_pixels, run.identity.conditions, run.rows),
        judge=JudgeSettings(
            engine=config.engine,
            device="cuda" if gpus else "cpu",
            model=config.model,
            model_store=config.model_store.resolved(),
            model_name=run.model,
            weights_sha256=checkpoint.weights_sha256,
            options=options,
            run_id=run.run_id,
            shard_rows=run.shard_rows,
        ),
        write=Write(folder, run),
        replicas=config.replicas,
        gpus_per_replica=gpus,
        shard_rows=run.shard_rows,
    )


def _gpus_per_replica(config: ScanConfig) -> float:
    """GPUs for one engine, after checking that the cluster has room for the engines and for the feed."""
    import ray

    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    _warn_of_local_folders(config)
    cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    wanted = config.gpus_per_engine(gpus)
    if wanted * config.replicas.low > gpus:
        raise UserError(
            f"replicas: {config.replicas.low} engines with {wanted:g} GPUs each need {wanted * config.replicas.low:g} "
            f"GPUs, the cluster has {gpus:g}; lower --replicas or --gpus-per-replica"
        )
    needed = config.replicas.low * config.engine.reserved_cpus + FEED_CPUS
    if needed > cpus:
        raise UserError(
            f"replicas: {config.replicas.low} engines and the feed need {needed:g} CPUs, "
            f"the cluster has {cpus:g}; lower --replicas"
        )
    return wanted


def _warn_of_local_folders(config: ScanConfig) -> None:
    import ray

    local = [name for name in ("source", "output") if scheme_of(getattr(config, name)) == "file"]
    if local and len(ray.nodes()) > 1:  # type: ignore[no-untyped-call]
        logger.warning("%s: a local folder must be shared by all nodes of the cluster", " and ".join(local))


def _guarded(parts: Iterator[PartSummary]) -> Iterator[PartSummary]:
    """The parts, with Ray's failures turned into one line."""
    from ray.exceptions import RayError

    try:
        yield from parts
    except RayError as error:
        raise _explain(error) from error


_RAISED = re.compile(r"^\s*(?:[\w.]+\.)?(?P<kind>\w*(?:Error|Exception))(?:: (?P<what>.*))?$", re.MULTILINE)


def _explain(error: Exception) -> Exception:
    """The user's mistake inside a remote failure, or what a stage raised first; the traceback goes to the log."""
    logger.info("the pipeline failed", exc_info=error)
    # Ray hands on a remote exception as text: the traceback of the first one comes first.
    found = _RAISED.search(str(error))
    if found is None:
        return ScanFailedError(f"the scan stopped: {type(error).__name__} (--verbose shows the logs)")
    if found["kind"] == "UserError":
        return UserError(found["what"] or "")
    return ScanFailedError(f"the scan stopped: {found['kind']}: {found['what'] or ''} (--verbose shows the logs)")
