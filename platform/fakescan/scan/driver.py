"""Runs a scan from its configuration to its summary: check, open or start the run, plan, execute, account."""

import importlib.util
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fakescan.access import check_readable, check_writable
from fakescan.cluster import connect
from fakescan.engine.base import Ask
from fakescan.engine.config import FakeConfig
from fakescan.scan.config import ScanConfig
from fakescan.scan.judge import JudgeSettings
from fakescan.scan.lease import Lease
from fakescan.scan.pipeline import Pipeline
from fakescan.scan.poison import remote_ledger
from fakescan.scan.progress import Display
from fakescan.scan.rows import COUNTS_KEY, PartSummary, Tally
from fakescan.scan.run import Identity, RunFile, RunFolder, new_run, refuse_change
from fakescan.scan.selection import write_run_manifest
from fakescan.scan.shards import missing, part_name, part_names, part_shard, shard_rows_for
from fakescan.scan.stages import Decode, Fetch, RunPlace, Write
from fakescan.storage import redact
from fakevlm.checkpoint import Checkpoint, open_checkpoint, self_test
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration

logger = logging.getLogger(__name__)

Observer = Callable[[PartSummary], None]


class ScanFailedError(RuntimeError):
    """The scan ended before all rows were accounted for; the message is one line. The run can be resumed."""


@dataclass
class Outcome:
    """How a scan ended."""

    run: RunFile
    url: str
    scanned: Tally
    """Rows that this scan did."""
    whole: Tally
    """Rows of the whole run, those of earlier scans included."""
    examples: dict[str, str] = field(default_factory=dict)
    """For each error code of this scan, one URI and message."""
    seconds: float = 0.0
    """From the start of the command to the last part."""
    startup_s: float = 0.0
    """From the start of the command to the first part."""

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
    config: ScanConfig, *, ray_address: str | None = None, verbose: bool = False, observe: Observer | None = None
) -> Outcome:
    """Scan, or resume what an earlier scan left. Raises UserError before any engine starts when a setting is wrong."""
    started = time.monotonic()
    checkpoint = check(config)
    ask = Ask(
        explain=config.explain,
        calibration=_calibration(checkpoint.calibration, config.threshold),
        max_new_tokens=config.max_new_tokens,
    )
    identity = Identity.of(config, checkpoint, ask)
    folder = RunFolder(config.output, config.output_store)
    run = folder.load()
    if run is not None:
        refuse_change(folder.url, run, identity, config.shard_rows)
    lease = Lease(folder.fs, f"{folder.path}/lease.json")
    lease.acquire(force=config.break_lease)
    try:
        run = folder.load() or _start_run(config, folder, identity, checkpoint)
        if run.warning:
            logger.warning("%s", run.warning)
        connect(ray_address, verbose=verbose)
        outcome = _execute(config, folder, run, ask, checkpoint, lease, observe, started)
    finally:
        lease.release()
    return outcome


def check(config: ScanConfig) -> Checkpoint:
    """Everything that can be found wrong before an engine starts; returns the opened checkpoint."""
    if not isinstance(config.engine, FakeConfig) and importlib.util.find_spec("vllm") is None:
        raise UserError("engine: vllm is not installed; install fakescan[cpu] or fakescan[gpu]")
    check_readable(config.source, config.input_store)
    check_writable(config.output, config.output_store)
    checkpoint = open_model(config)
    self_test(checkpoint)
    return checkpoint


def open_model(config: ScanConfig) -> Checkpoint:
    """The checkpoint that a configuration names, or the built-in untrained one."""
    return open_checkpoint(model_location(config), storage_options=config.model_store.fsspec_options(config.model or ""))


def model_location(config: ScanConfig) -> str:
    """Where the checkpoint is."""
    if config.model is not None:
        return config.model
    from fakevlm.tiny import default_checkpoint

    return str(default_checkpoint())


def plan(folder: RunFolder, run: RunFile, *, retry_errors: bool) -> tuple[NDArray[np.int64], list[int]]:
    """The shards to do, and those that earlier scans have done: one listing."""
    names = part_names(folder.fs, folder.parts)
    todo = missing(run.sharding, names)
    done = sorted(set(range(run.sharding.count)) - set(todo.tolist()))
    if retry_errors and done:
        with ThreadPoolExecutor(16) as pool:
            failed = [tally.failed > 0 for tally in pool.map(lambda shard: count_part(folder, shard), done)]
        again = np.array([shard for shard, bad in zip(done, failed, strict=True) if bad], dtype=np.int64)
        todo = np.union1d(todo, again)
    return todo, done


def count_part(folder: RunFolder, shard: int) -> Tally:
    """A part's counts, from its footer."""
    with folder.fs.open(f"{folder.parts}/{part_name(shard)}", "rb", block_size=65536) as file:
        metadata = pq.read_metadata(file).metadata or {}
    return Tally.from_json(metadata[COUNTS_KEY.encode()])


def _calibration(stored: Calibration, threshold: float | None) -> Calibration:
    """The checkpoint's calibration with the user's threshold, which replaces a band of uncertainty it lies outside of."""
    if threshold is None:
        return stored
    low, high = stored.uncertain_low, stored.uncertain_high
    if low is not None and high is not None and low <= threshold <= high:
        return stored.model_copy(update={"threshold": threshold})
    return stored.model_copy(update={"threshold": threshold, "uncertain_low": None, "uncertain_high": None})


def _start_run(config: ScanConfig, folder: RunFolder, identity: Identity, checkpoint: Checkpoint) -> RunFile:
    leftovers = part_names(folder.fs, folder.parts)
    if any(part_shard(name) is not None for name in leftovers):
        raise UserError(f"output: {redact(folder.url)} holds parts but no run.json; use an empty --output")
    info, population = write_run_manifest(config, folder)
    name, warning = model_name(config, checkpoint)
    run = new_run(
        identity,
        name,
        warning,
        fingerprint=info.fingerprint,
        rows=info.rows,
        population=population,
        shard_rows=config.shard_rows or shard_rows_for(info.rows),
    )
    folder.save(run)
    return run


def model_name(config: ScanConfig, checkpoint: Checkpoint) -> tuple[str, str | None]:
    """What the rows call the model, and a warning when its verdicts mean nothing."""
    if isinstance(config.engine, FakeConfig):
        return "fake-engine", "the engine is simulated: these verdicts mean nothing"
    name = "builtin-tiny" if config.model is None else redact(config.model)
    if checkpoint.trained:
        return name, None
    return f"{name} (untrained)", f"the model {name} is untrained: its verdicts mean nothing; name one with --model"


def _execute(
    config: ScanConfig,
    folder: RunFolder,
    run: RunFile,
    ask: Ask,
    checkpoint: Checkpoint,
    lease: Lease,
    observe: Observer | None,
    started: float,
) -> Outcome:
    todo, done = plan(folder, run, retry_errors=config.retry_errors)
    outcome = Outcome(run, folder.url, Tally(), Tally())
    again = set(done) & set(todo.tolist())
    with ThreadPoolExecutor(2, thread_name_prefix="count") as pool:
        # What earlier scans did is counted while the engines start.
        before = [pool.submit(count_part, folder, shard) for shard in done if shard not in again]
        if len(todo):
            pipeline = _pipeline(config, folder, run, ask, checkpoint)
            rows_before = sum(run.sharding.size(shard) for shard in done if shard not in again)
            with Display(run.rows, rows_before) as display:
                for part in _guarded(pipeline.run(todo, remote_ledger())):
                    lease.check()
                    if part.rows == 0:
                        continue
                    outcome.startup_s = outcome.startup_s or time.monotonic() - started
                    outcome.scanned.add(part)
                    for code, example in part.examples.items():
                        outcome.examples.setdefault(code, example)
                    display.add(part)
                    if observe is not None:
                        observe(part)
        _collect(before, outcome.whole)
    outcome.seconds = time.monotonic() - started
    left = missing(run.sharding, part_names(folder.fs, folder.parts))
    if len(left):
        raise ScanFailedError(f"{len(left)} parts are missing at the end; run the same command again to resume")
    for shard in again:
        outcome.whole.add(count_part(folder, shard))
    if again:
        # Retried parts keep their good rows, which were not scanned again.
        fresh = [shard for shard in todo.tolist() if shard not in again]
        for shard in fresh:
            outcome.whole.add(count_part(folder, shard))
    else:
        outcome.whole.add(outcome.scanned)
    return outcome


def _collect(counts: Iterable[Future[Tally]], whole: Tally) -> None:
    for count in counts:
        whole.add(count.result())


def _pipeline(config: ScanConfig, folder: RunFolder, run: RunFile, ask: Ask, checkpoint: Checkpoint) -> Pipeline:
    place = RunPlace(run.run_id, folder.url, config.output_store.resolved(), run.sharding)
    gpus = _gpus_per_replica(config)
    return Pipeline(
        fetch=Fetch(
            place,
            config.input_store.resolved(),
            config.max_bytes,
            config.fetch_concurrency,
            config.fetch_timeout_s,
            config.retry_errors,
        ),
        decode=Decode(checkpoint.image, config.max_pixels),
        judge=JudgeSettings(
            engine=config.engine,
            device="cuda" if gpus else "cpu",
            model=model_location(config),
            model_store=config.model_store.resolved(),
            model_name=run.model,
            weights_sha256=checkpoint.weights_sha256,
            ask=ask,
            run_id=run.run_id,
            shard_rows=run.shard_rows,
        ),
        write=Write(place),
        replicas=config.replicas,
        gpus_per_replica=gpus,
        shard_rows=run.shard_rows,
    )


def _gpus_per_replica(config: ScanConfig) -> float:
    """GPUs for one engine, after checking that the cluster has room for the engines and for the feed."""
    import ray

    there = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    wanted = config.gpus_per_replica
    if wanted is None:
        wanted = 1.0 if gpus and not isinstance(config.engine, FakeConfig) else 0.0
    if wanted * config.replicas.low > gpus:
        raise UserError(
            f"replicas: {config.replicas.low} engines with {wanted:g} GPUs each need {wanted * config.replicas.low:g} "
            f"GPUs, the cluster has {gpus:g}; lower --replicas or --gpus-per-replica"
        )
    if config.replicas.low + 1 > cpus:
        raise UserError(
            f"replicas: {config.replicas.low} engines and the feed need {config.replicas.low + 1} CPUs, "
            f"the cluster has {cpus:g}; lower --replicas"
        )
    return wanted


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
    # Ray hands on a remote exception as text: the traceback of the first one stands first.
    found = _RAISED.search(str(error))
    if found is None:
        return ScanFailedError(f"the scan stopped: {type(error).__name__} (--verbose shows the logs)")
    if found["kind"] == "UserError":
        return UserError(found["what"] or "")
    return ScanFailedError(f"the scan stopped: {found['kind']}: {found['what'] or ''} (--verbose shows the logs)")
