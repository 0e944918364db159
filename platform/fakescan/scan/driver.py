"""Runs a scan from its configuration to its summary: check, open or start the run, plan, execute, account."""

import logging
import time
from contextlib import closing, suppress
from dataclasses import replace

import pyarrow as pa

from fakescan.cluster import connect, names_cluster, ray_session
from fakescan.cluster_nodes import connected_nodes
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.model import model_meaning, pinned_model
from fakescan.run.bulk.workers import Workers
from fakescan.run.facts.run_facts import read_facts
from fakescan.run.facts.table import counts_in
from fakescan.run.folder import RunFolder
from fakescan.run.identity import Identity
from fakescan.run.parts import part_name
from fakescan.run.run_file import RunFile, refuse_change
from fakescan.scan.config import ScanConfig
from fakescan.scan.content_cache import recalled
from fakescan.scan.engines.placement import Placement, place, warn_of_local_folders
from fakescan.scan.execution import Execution, Observer, ScanFailedError, ScanOutcome
from fakescan.scan.judge import JudgeSettings
from fakescan.scan.pipeline import Pipeline
from fakescan.scan.progress import ScanDisplay
from fakescan.scan.provenance import ReadProvenance
from fakescan.scan.stability.carried import CarriedFiles
from fakescan.scan.stability.second_look import SecondLookSettings
from fakescan.scan.stages import Decode, Fetch, Write
from fakescan.scan.start.explicit_images import ExplicitImages
from fakescan.scan.start.notes import ScanNotes
from fakescan.scan.start.number_types import decide_types
from fakescan.scan.start.plan import Plan, make_plan, parts_missing
from fakescan.scan.start.prepare import check, identity_of, open_run, resumes
from fakescan.scan.start.run_lease import RunLease, starting
from fakescan.scan.start.trust_list import read_list
from fakescan.scan.store_weather import FetchGuard, shown_waits
from fakescan.scan.tables import examples
from fakescan.settings.run_slice import RunSlice
from fakescan.storage.url import redact
from fakescan.terminal.json_logs.fields import set_process_fields
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError
from fakevlm.reading import Reader

logger = logging.getLogger(__name__)


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
            with shown_waits(progress):
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
    if config.stability != "none" and images is not None:
        raise UserError("stability: only the images of a source are looked at again; leave it out")
    if config.slice is not None and images is not None:
        raise UserError("slice: only a scan of a source is cut into slices; leave it out")
    progress.stage("checking source, output and model", is_brief=True)
    checkpoint = check(config)
    options = config.options(checkpoint, config.explain, config.output_store)
    identity = identity_of(config, checkpoint, options, images)
    folder = RunFolder(config.output, config.output_store)
    if (there := folder.load()) is not None:
        resumes(folder, there, identity, config.shard_rows)  # refuses another run before its lease is waited for
    lease = RunLease(folder, config.slice)
    progress.stage("taking the run's lease", is_brief=True)
    lease.acquire(force=config.break_lease)
    try:
        progress.stage("opening the run, or listing the source", is_brief=True)
        run = _open(config, folder, lease, identity, checkpoint, images, progress)
        set_process_fields(run_id=run.run_id, run=redact(folder.url))
        if run.warning:
            logger.warning("%s", run.warning)
        outcome = ScanOutcome(run, folder.url, config.slice, account=folder.manifest(run).info.account())
        if outcome.account:
            logger.warning("%s", "\n".join(outcome.account))
        progress.stage("finding out what is done", is_brief=True)
        folder.remove_abandoned()
        plan = make_plan(folder, run, retry_errors=config.retry_errors, part=config.slice, workers=Workers(ray_address))
        outcome.rows, outcome.already_complete = plan.rows, not len(plan.todo)
        outcome.completed_at = plan.last_scanned_at
        if len(plan.todo):
            progress.stage("joining the Ray cluster" if names_cluster(ray_address) else "starting Ray")
            connect(ray_address, verbose=verbose)
            placement = _place(config, len(plan.todo))
            pipeline = build_pipeline(config, folder, run, options, checkpoint, placement)
            first = placement.first(len(plan.todo), pipeline.shards_in_flight())
            pipeline = replace(pipeline, first_replicas=first)
            progress.waiting_for(placement.in_words())
            known = recalled(folder, run, plan.sound.tolist()) if config.dedupe else iter(())
            guard = FetchGuard(config.max_fetch_error_rate)
            with closing(ScanNotes(folder, run, config.engine, observe, is_resumed=bool(len(plan.sound)))) as notes:
                Execution(pipeline, outcome, lease, progress, notes, started, guard).run(plan.todo, known)
        progress.stage("checking that every part exists", is_brief=True)
        _account(folder, run, plan, outcome, config.slice)
        folder.remove_abandoned()  # of writers of this scan that were killed
        _add_examples(folder, plan.earlier_errors, outcome)
    finally:
        lease.release()
    return outcome


def _open(
    config: ScanConfig,
    folder: RunFolder,
    lease: RunLease,
    identity: Identity,
    checkpoint: Checkpoint,
    images: ExplicitImages | None,
    progress: ScanDisplay,
) -> RunFile:
    """The run, of which scans of other slices may be at work: one of them prepares it, and the others wait for it."""
    if config.slice is None:
        return open_run(config, folder, identity, checkpoint, images, progress.listing)
    with starting(folder):
        there = folder.load()
        if there is not None and not resumes(folder, there, identity, config.shard_rows) and lease.has_company():
            refuse_change(folder.url, there, identity, config.shard_rows)  # no part exists yet, but scans are at work
        return open_run(config, folder, identity, checkpoint, images, progress.listing)


def _account(folder: RunFolder, run: RunFile, plan: Plan, outcome: ScanOutcome, part: RunSlice | None) -> None:
    """Count the whole run, or the slice, and make sure that no part of it is missing."""
    missing, outcome.missing_elsewhere = parts_missing(folder, run, part)
    if missing:
        raise ScanFailedError(f"{missing:,} parts are missing at the end; run the same command again to resume")
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
    config: ScanConfig,
    folder: RunFolder,
    run: RunFile,
    options: JudgingOptions,
    checkpoint: Checkpoint,
    placement: Placement,
) -> Pipeline:
    """The stages for a run on the connected cluster."""
    folder = RunFolder(folder.url, config.output_store.resolved())
    fetch = Fetch(
        folder,
        run,
        config.source_store.resolved(),
        config.max_bytes,
        config.fetch_concurrency,
        config.fetch_timeout_s,
        config.retry_errors,
        limits=config.work_limits(),
        patience_s=config.store_patience_s,
    )
    return Pipeline(
        fetch=fetch,
        decode=Decode(
            checkpoint.image,
            config.max_pixels,
            run.identity.conditions,
            run.rows,
            config.work_limits(),
            run_id=run.run_id,
            shard_rows=run.shard_rows,
            provenance=ReadProvenance(read_list(folder, run)) if run.reads_provenance else None,
            carried=CarriedFiles(run.strip) if run.strip.is_on else None,
            decoding=run.identity.decode,
        ),
        judge=JudgeSettings(
            engine=config.engine,
            device=placement.device,
            model=pinned_model(config.model, checkpoint).location,
            model_store=config.model_store.resolved(),
            model_name=run.model,
            weights_sha256=checkpoint.weights_sha256,
            options=options,
            run_id=run.run_id,
            shard_rows=run.shard_rows,
            reader=Reader(model_meaning(config.engine, checkpoint), options.calibration, checkpoint.image),
            dedupe=config.dedupe,
            files_sha256=checkpoint.files_sha256,
            numbers=decide_types(folder, run, config.engine, checkpoint, placement.device),
            gpus=placement.gpus,
            second_look=(
                SecondLookSettings(run.strip, checkpoint.image, config.max_pixels, config.work_limits(), fetch)
                if run.strip.is_on
                else None
            ),
        ),
        write=Write(folder, run, retry_errors=config.retry_errors),
        replicas=placement.replicas,
        gpus_per_replica=placement.gpus,
        shard_rows=run.shard_rows,
        cpus_per_replica=placement.cpus,
        kinds=placement.kinds,
    )


def _place(config: ScanConfig, shards: int) -> Placement:
    """Where the engines run on the connected cluster. Raises UserError where it has no room for them."""
    cluster = connected_nodes()
    warn_of_local_folders(config, cluster)
    return place(config, cluster, shards)
