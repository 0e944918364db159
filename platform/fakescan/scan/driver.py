"""Runs a scan from its configuration to its summary: check, open or start the run, plan, execute, account."""

import logging
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.cluster import connect, names_cluster, ray_session
from fakescan.engine.judging_options import JudgingOptions
from fakescan.errors import JobFailedError
from fakescan.run.bulk.workers import Workers
from fakescan.run.counts import Counts
from fakescan.run.facts.run_facts import read_facts
from fakescan.run.facts.table import counts_in
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name
from fakescan.run.run_file import RunFile
from fakescan.scan.config import ScanConfig
from fakescan.scan.content_cache import recalled
from fakescan.scan.judge import JudgeSettings
from fakescan.scan.ledger import remote_ledger
from fakescan.scan.pipeline import FEED_CPUS, Pipeline
from fakescan.scan.progress import ScanDisplay
from fakescan.scan.stages import Decode, Fetch, Write
from fakescan.scan.start.explicit_images import ExplicitImages
from fakescan.scan.start.notes import ScanNotes
from fakescan.scan.start.plan import Plan, make_plan
from fakescan.scan.start.prepare import check, identity_of, open_run, resumes
from fakescan.scan.tables import PartSummary, examples
from fakescan.storage.lease import Lease
from fakescan.storage.url import scheme_of
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import ErrorCode, UserError

logger = logging.getLogger(__name__)

Observer = Callable[[PartSummary], None]

_MIN_STEADY_S = 1.0
"""Seconds after the first part below which there is no pace to speak of."""


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
    """For each error code of the run, one URI and message."""
    copies: int = 0
    """Rows of this scan that got the judgement of another row with the same content; none unless `dedupe` is set."""
    seconds: float = 0.0
    """From the start of the command to the last part."""
    startup_s: float = 0.0
    """From the start of the command to the first part."""
    already_complete: bool = False
    """Whether there was nothing left to do."""
    completed_at: datetime | None = None
    """When the latest row that was there before was judged."""
    first_rows: int = 0
    """Rows of the first part."""
    account: list[str] = field(default_factory=list)
    """Lines for people about what of the source became no row."""

    @property
    def error_rate(self) -> float:
        """Share of the run's rows that ended in an error."""
        return self.whole.failed / self.whole.rows if self.whole.rows else 0.0

    @property
    def unreadable(self) -> int:
        """Rows of this scan without an image that could be judged."""
        errors = self.scanned.errors
        return self.scanned.failed - errors.get(ErrorCode.JUDGE_FAILED, 0) - errors.get(ErrorCode.POISON, 0)

    @property
    def steady_rate(self) -> float | None:
        """Images per second after the first part; None where there were too few to tell."""
        seconds = self.seconds - self.startup_s
        rows = self.scanned.rows - self.first_rows
        return rows / seconds if seconds >= _MIN_STEADY_S and rows else None


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

    With `images`, those are judged, and `config.source` is only what the run says it is of. `display`: say on stderr
    how far it is. A connection to Ray that it makes, it ends, unless in a `ray_session` of the caller's.
    """
    with ScanDisplay(show=display) as progress, ray_session(lambda: progress.stage("stopping Ray", is_brief=True)):
        try:
            return _scan(config, ray_address, verbose, observe, images, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted at {progress.position}" if progress.position else "") from None


def _scan(
    config: ScanConfig,
    ray_address: str | None,
    verbose: bool,
    observe: Observer | None,
    images: ExplicitImages | None,
    progress: ScanDisplay,
) -> ScanOutcome:
    started = time.monotonic()
    if config.dedupe and images is not None and images.conditions != ("none",):
        raise UserError("dedupe: files with the same bytes are distorted in different ways here; leave it out")
    progress.stage("checking source, output and model", is_brief=True)
    checkpoint = check(config)
    options = config.options(checkpoint, config.explain, config.output_store)
    identity = identity_of(config, checkpoint, options, images)
    folder = RunFolder(config.output, config.output_store)
    if (there := folder.load()) is not None:
        resumes(folder, there, identity, config.shard_rows)  # refuses another run before its lease is waited for
    lease = Lease(folder.fs, f"{folder.path}/lease.json")
    progress.stage("taking the run's lease", is_brief=True)
    lease.acquire(force=config.break_lease)
    try:
        progress.stage("opening the run, or listing the source", is_brief=True)
        run = open_run(config, folder, identity, checkpoint, images, progress.listing)
        if run.warning:
            logger.warning("%s", run.warning)
        outcome = ScanOutcome(run, folder.url, account=folder.manifest(run).info.account())
        if outcome.account:
            logger.warning("%s", "\n".join(outcome.account))
        progress.stage("finding out what is done", is_brief=True)
        plan = make_plan(folder, run, retry_errors=config.retry_errors, workers=Workers(ray_address))
        outcome.already_complete, outcome.completed_at = not len(plan.todo), plan.last_scanned_at
        if len(plan.todo):
            progress.stage("joining the Ray cluster" if names_cluster(ray_address) else "starting Ray")
            connect(ray_address, verbose=verbose)
            pipeline = build_pipeline(config, folder, run, options, checkpoint)
            rows_before = run.rows - sum(run.sharding.size(shard) for shard in plan.todo.tolist())
            known = recalled(folder, plan.sound.tolist()) if config.dedupe else iter(())
            with closing(ScanNotes(folder, run, config.engine, observe, is_resumed=bool(len(plan.sound)))) as notes:
                _execute(pipeline, plan.todo, known, rows_before, outcome, lease, notes, started, progress)
        progress.stage("checking that every part exists", is_brief=True)
        _account(folder, run, plan, outcome)
        _add_examples(folder, plan.earlier_errors, outcome)
    finally:
        lease.release()
    return outcome


def _execute(
    pipeline: Pipeline,
    todo: NDArray[np.int64],
    known: Iterator[dict[bytes, bytes]],
    rows_before: int,
    outcome: ScanOutcome,
    lease: Lease,
    observe: Observer | None,
    started: float,
    progress: ScanDisplay,
) -> None:
    import ray

    progress.begin(outcome.run.rows, rows_before)
    ledger = remote_ledger()
    for contents in known:
        ray.get(ledger.remember.remote(contents))
    # Closed at once however it ends: its executor must not outlive the connection to Ray.
    with progress.following(ledger), closing(_guarded(pipeline.run(todo, ledger))) as parts:
        for part in parts:
            lease.check()
            if part.counts.rows == 0:
                continue
            outcome.seconds = time.monotonic() - started
            if not outcome.startup_s:
                outcome.startup_s, outcome.first_rows = outcome.seconds, part.counts.rows
            outcome.scanned.add(part.counts)
            outcome.copies += part.copies
            for code, example in part.examples.items():
                outcome.examples.setdefault(code, example)
            progress.add(part, outcome.run.sharding.size(part.shard))
            if observe is not None:
                observe(part)


def _account(folder: RunFolder, run: RunFile, plan: Plan, outcome: ScanOutcome) -> None:
    """Count the whole run, and make sure that no part is missing."""
    left = folder.missing(run.sharding)
    if len(left):
        raise ScanFailedError(f"{len(left)} parts are missing at the end; run the same command again to resume")
    outcome.whole.add(plan.before)
    # Retried parts kept their good rows, which were not scanned again: count what is there.
    if not len(plan.retried):
        outcome.whole.add(outcome.scanned)
        return
    listing = folder.listing()
    facts = read_facts(folder, run, listing.at(listing.places_of(plan.todo)))
    for shard in facts.damaged[:1].tolist():
        raise ScanFailedError(f"{part_name(shard)} is damaged; run the same command again")
    outcome.whole.add(counts_in(facts.table))


def _add_examples(folder: RunFolder, earlier: dict[str, int], outcome: ScanOutcome) -> None:
    """Read an example of each error code that only earlier scans had."""
    for code, shard in earlier.items():
        if code not in outcome.examples:
            with suppress(pa.ArrowInvalid, OSError):  # the scan is done; `verify` says what is wrong with a part
                part = folder.read_part(shard, ["uri", "error_code", "error_message"])
                if part is not None:
                    outcome.examples = {**examples(part), **outcome.examples}


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
            dedupe=config.dedupe,
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


def _guarded(parts: Iterator[PartSummary]) -> Generator[PartSummary, None, None]:
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
