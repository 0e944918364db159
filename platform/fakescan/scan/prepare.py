"""Before anything runs: find what is wrong, open the checkpoint, and start the run or find it as it was left."""

import importlib.util

from pydantic import ValidationError

from fakescan.access import check_readable, check_writable
from fakescan.engine.base import Ask
from fakescan.engine.config import FakeConfig
from fakescan.model import open_model
from fakescan.scan.config import ScanConfig
from fakescan.scan.listed import Listed
from fakescan.scan.run import Identity, RunFile, RunFolder, new_run
from fakescan.scan.selection import write_run_manifest
from fakescan.scan.shards import part_names, part_shard, shard_rows_for
from fakescan.storage import Store, read_bytes, redact
from fakescan.yaml_settings import one_line
from fakevlm.checkpoint import Checkpoint, self_test
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration


def check(config: ScanConfig) -> Checkpoint:
    """Everything that can be found wrong before an engine starts; returns the opened checkpoint."""
    if not isinstance(config.engine, FakeConfig) and importlib.util.find_spec("vllm") is None:
        raise UserError("engine: vllm is not installed; install fakescan[cpu] or fakescan[gpu]")
    check_readable(config.source, config.input_store)
    check_writable(config.output, config.output_store)
    checkpoint = open_model(config.model, config.model_store)
    self_test(checkpoint)
    return checkpoint


def ask_of(config: ScanConfig, checkpoint: Checkpoint) -> Ask:
    """What the configuration asks of the checkpoint."""
    given = config.calibration or checkpoint.calibration
    stored = given if isinstance(given, Calibration) else _read_calibration(given, config.output_store)
    calibration = _calibration(stored, config.threshold)
    return Ask(explain=config.explain, calibration=calibration, max_new_tokens=config.max_new_tokens)


def _read_calibration(url: str, store: Store) -> Calibration:
    """What `fakescan calibrate` wrote to a file or, with the output's credentials, to an object."""
    try:
        check_readable(url, store)
    except UserError as error:
        raise UserError(f"calibration: {error}") from None
    try:
        return Calibration.model_validate_json(read_bytes(*store.filesystem(url)))
    except FileNotFoundError:
        raise UserError(f"calibration: there is no {redact(url)}") from None
    except ValidationError as error:
        raise UserError(f"calibration: {redact(url)}: {one_line(error)}") from None


def _calibration(stored: Calibration, threshold: float | None) -> Calibration:
    """The stored calibration with the user's threshold; a band of uncertainty that it lies outside of goes.

    A band that ends at the stored threshold ends at the user's.
    """
    if threshold is None:
        return stored
    low, high = stored.uncertain_low, stored.uncertain_high
    if low is not None and high == stored.threshold and low < threshold:
        return stored.model_copy(update={"threshold": threshold, "uncertain_high": threshold})
    if low is not None and high is not None and low <= threshold <= high:
        return stored.model_copy(update={"threshold": threshold})
    return stored.model_copy(update={"threshold": threshold, "uncertain_low": None, "uncertain_high": None})


def start_run(
    config: ScanConfig, folder: RunFolder, identity: Identity, checkpoint: Checkpoint, listed: Listed | None = None
) -> RunFile:
    """Write the manifest and run.json of a new run. Raises UserError when there is nothing to scan."""
    leftovers = part_names(folder.fs, folder.parts)
    if any(part_shard(name) is not None for name in leftovers):
        raise UserError(f"output: {redact(folder.url)} holds parts but no run.json; use an empty --output")
    info, population = write_run_manifest(config, folder, listed)
    name, warning = model_name(config, checkpoint)
    run = new_run(
        identity,
        name,
        warning,
        fingerprint=info.fingerprint,
        rows=info.rows,
        population=population,
        shard_rows=config.shard_rows or shard_rows_for(info.rows, info.known_bytes),
    )
    folder.save(run)
    return run


def model_name(config: ScanConfig, checkpoint: Checkpoint) -> tuple[str, str | None]:
    """What the rows call the model, and a warning when its verdicts mean nothing or less than one would think."""
    if isinstance(config.engine, FakeConfig):
        return "fake-engine", "the engine is simulated: these verdicts mean nothing"
    name = "builtin-small" if config.model is None else redact(config.model)
    if checkpoint.trained:
        return name, f"the model {name} {checkpoint.notice}" if checkpoint.notice else None
    return f"{name} (untrained)", f"the model {name} is untrained: its verdicts mean nothing; name one with --model"
