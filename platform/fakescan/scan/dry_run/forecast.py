"""What a scan would do: the images that it finds, the run that it starts or resumes, the model, and what is wrong."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.model import model_name, open_model
from fakescan.run.counts import Counts
from fakescan.run.facts.run_facts import count_run
from fakescan.run.folder import RunFolder
from fakescan.run.parts import DEFAULT_IMAGE, Sharding, shard_rows_for
from fakescan.run.run_file import RunFile
from fakescan.run.stability.columns import VARIANTS
from fakescan.run.stability.strip import share_of
from fakescan.scan.config import ScanConfig
from fakescan.scan.dry_run.nowhere import Nowhere
from fakescan.scan.stability.failed_variants import rows_with_failed_variants
from fakescan.scan.start.prepare import check_inputs, identity_of, refuse_parts_of_no_run, resumes
from fakescan.scan.start.run_lease import holder
from fakescan.scan.start.selection import write_run_manifest
from fakescan.settings.run_slice import WHOLE_RUN, RunSlice
from fakescan.sources.manifest import ManifestInfo
from fakescan.storage.preflight import check_readable, check_writable_without_trace
from fakescan.storage.url import redact
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.self_test import self_test
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration


@dataclass(frozen=True)
class Forecast:
    """What a scan with this configuration would do at this moment."""

    config: ScanConfig
    checkpoint: Checkpoint | None
    """None where a scan would have to download it."""
    calibration: Calibration | None
    """What would turn logits into verdicts; None where the checkpoint's would and is not here."""
    model: str
    """Name of the model in the results."""
    warning: str | None
    """Why the verdicts would mean nothing, or less than one would think."""
    info: ManifestInfo
    """The manifest: of a run that exists its own, for a new one what would be written."""
    population: int
    """Images of the source; more than `info.rows` where only some are to be scanned."""
    unknown_sizes: int | None
    """Images whose size is not known; None for a run that exists."""
    sharding: Sharding
    run: RunFile | None
    """The run that would be resumed."""
    rows_left: int
    """Rows that would be scanned."""
    flagged_share: float | None
    """Share of the rows with the verdict fake of those that the run, or its sample, has judged; None where there are
    none, or nobody needs it."""
    holder: str | None
    """The process that seems to be writing the run."""

    @property
    def strip_prefills(self) -> int | None:
        """Prefills for the stability strip, about; None where that depends on how many images will be flagged."""
        config = self.config
        looked: float | None = 1.0 if config.stability == "all" else 0.0
        if config.stability == "flagged":
            looked = self.flagged_share
        elif config.stability == "sample":
            looked = share_of(config.stability, config.stability_share)
        return None if looked is None else round(self.rows_left * looked * len(VARIANTS))


def forecast(config: ScanConfig) -> Forecast:
    """Find out what a scan would do. Raises UserError wherever the scan itself would, before its engines start.

    A source is listed in the memory that a scan takes to list it. A run that exists is not listed again, since a scan
    would not do so either. A checkpoint that is not on this machine is not downloaded.
    """
    check_inputs(config)
    check_writable_without_trace(config.output, config.output_store)
    checkpoint = _checkpoint(config)
    options = None
    model, warning = redact(config.model or ""), None
    if checkpoint is not None:
        self_test(checkpoint)
        model, warning = model_name(config.model, config.engine, checkpoint)
        options = config.options(checkpoint, config.explain, config.output_store)
    folder = RunFolder(config.output, config.output_store)
    run = there = folder.load()
    unknown_sizes = None
    if (
        run is not None
        and checkpoint is not None
        and options is not None
        and not resumes(folder, run, identity_of(config, checkpoint, options), config.shard_rows)
    ):
        run = None  # a sample of the whole, which is listed anew, or a start that came to no part
    counts = Counts()
    if there is not None and (config.retry_errors or config.stability == "flagged"):
        counts = count_run(folder, there, config.slice or WHOLE_RUN)
    if run is not None:
        info, population, sharding = folder.manifest(run).info, run.population, run.sharding
        rows_left = _rows_left(folder, run, config.slice, counts.failed if config.retry_errors else None)
    else:
        if there is None:
            refuse_parts_of_no_run(folder)
        nowhere = Nowhere()
        info, population = write_run_manifest(config, nowhere)
        unknown_sizes = nowhere.fs.unknown_sizes
        image = DEFAULT_IMAGE if checkpoint is None else checkpoint.image
        sharding = Sharding(info.rows, config.shard_rows or shard_rows_for(info.rows, info.known_bytes, image))
        rows_left = sharding.rows_of(_shards(sharding, config.slice))
    return Forecast(
        config=config,
        checkpoint=checkpoint,
        calibration=None if options is None else options.calibration,
        model=model,
        warning=warning,
        info=info,
        population=population,
        unknown_sizes=unknown_sizes,
        sharding=sharding,
        run=run,
        rows_left=rows_left,
        flagged_share=counts.fake / (counts.rows - counts.failed) if counts.rows > counts.failed else None,
        holder=holder(folder, config.slice),
    )


def _rows_left(folder: RunFolder, run: RunFile, part: RunSlice | None, failed: int | None) -> int:
    """Rows without a result, and where they are tried again the `failed` ones and those with a variant that failed."""
    shards = _shards(run.sharding, part)
    missing = np.intersect1d(folder.missing(run.sharding), shards, assume_unique=True)
    left = run.sharding.rows_of(missing)
    if failed is not None:
        there = np.setdiff1d(shards, missing, assume_unique=True)
        left += failed + int(rows_with_failed_variants(folder, run, there).sum())
    return left


def _shards(sharding: Sharding, part: RunSlice | None) -> NDArray[np.int64]:
    return np.arange(*(part or WHOLE_RUN).shards(sharding.count))


def _checkpoint(config: ScanConfig) -> Checkpoint | None:
    """The checkpoint, opened; None for one that would be downloaded first, which can take gigabytes and hours."""
    model, store = config.model, config.model_store
    if model is None or model.startswith("file://"):
        return open_model(model, store)
    if "://" in model:
        check_readable(model, store)
        return None
    if model.count("/") != 1 or model[0] in "/.~" or Path(model).exists():
        return open_model(model, store)
    return _in_the_hubs_cache(config, model)


def _in_the_hubs_cache(config: ScanConfig, model: str) -> Checkpoint | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name, _, revision = model.partition("@")
    try:
        folder = snapshot_download(name, revision=revision or None, local_files_only=True)
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    try:
        return open_model(str(folder), config.model_store)
    except UserError:  # some of its files: a download that was interrupted
        return None
