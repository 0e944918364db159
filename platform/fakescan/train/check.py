"""The checks before a worker starts, and the memory and disk space that a run will need."""

import importlib.util
import logging
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from fakescan.engine.model import open_model
from fakescan.storage.preflight import check_readable, check_writable
from fakescan.storage.url import file_path, scheme_of
from fakescan.train.config import TrainConfig
from fakescan.train.loop import open_samples, with_prompt
from fakescan.train.model import PARTS, part_of
from fakescan.train.plan import Plan
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.layout import read_weights
from fakevlm.checkpoint.self_test import self_test
from fakevlm.data.checks import check_records, check_warnings, warning_lines
from fakevlm.data.dataset import Dataset, split_names
from fakevlm.data.images import check_presence
from fakevlm.errors import UserError
from fakevlm.prompt import PromptSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preflight:
    """The inputs of a run, opened and checked, and their sizes."""

    checkpoint: Checkpoint
    split: str | None
    eval_split: str | None
    plan: Plan
    longest: int
    """Tokens of the longest sample."""
    parameters: dict[str, int]
    """Weights of each part."""


def check(config: TrainConfig) -> Preflight:
    """Open and check everything that a run needs. Raises UserError, one line that names the setting."""
    if config.zero and importlib.util.find_spec("deepspeed") is None:
        raise UserError("zero: deepspeed is not installed; install fakescan[train], or set zero to 0")
    if "lora" in config.modes.values() and importlib.util.find_spec("peft") is None:
        raise UserError("lora: peft is not installed; install fakescan[train]")
    for package in ("matplotlib", "tensorboardX"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{package} is not installed; install fakescan[train]")
    check_writable(config.storage_path, config.storage_store)
    check_readable(config.data, config.data_store)
    checkpoint = with_prompt(open_model(config.model, config.model_store, show_progress=True), config)
    self_test(checkpoint)
    split, eval_split = _splits(config)
    samples = open_samples(config, checkpoint, split)
    datasets = [samples.dataset]
    if eval_split is not None:
        datasets.append(open_samples(config, checkpoint, eval_split).dataset)
    _refuse_faults(datasets, checkpoint.prompt)
    longest = int(samples.text.lengths(samples.dataset.records, config.max_length).max())
    plan = Plan(len(samples.dataset.records), config.batch_size, config.epochs, config.max_steps, config.seed)
    parameters = dict.fromkeys(PARTS, 0)
    for name, shape in read_weights(checkpoint.path).shapes.items():
        parameters[part_of(name)] += math.prod(shape)
    _check_disk(config, parameters)
    return Preflight(checkpoint, split, eval_split, plan, longest, parameters)


def _splits(config: TrainConfig) -> tuple[str | None, str | None]:
    """The files of records to train and to evaluate on."""
    fs, path = config.data_store.filesystem(config.data)
    names = split_names(path, fs)
    split = config.split or ("train" if "train" in names and len(names) > 1 else None)
    trained_on = split or (names[0] if names else None)
    usual = (name for name in ("val", "test") if name in names and name != trained_on)
    held_out = config.eval_split or next(usual, None)
    if held_out is not None and held_out == trained_on:
        raise UserError(f"eval_split: {held_out} is what is trained on; name another file of records")
    return split, held_out


def _refuse_faults(datasets: list[Dataset], prompt: PromptSpec) -> None:
    for line in warning_lines(check_warnings(datasets, prompt)):
        logger.warning("data: %s", line)
    problems = check_records(datasets, prompt)
    for dataset in datasets:
        problems += check_presence(dataset).problems
    if problems:
        more = f"; {len(problems):,} problems in all, see fakescan data validate" if len(problems) > 1 else ""
        raise UserError(f"data: {problems[0]}{more}")


def trained_weights(config: TrainConfig, parameters: dict[str, int]) -> int:
    """About how many weights have a gradient."""
    count = 0
    for part, mode in config.modes.items():
        size = parameters[part]
        # A low-rank addition to a square matrix of side s has 2 r s of its s^2 weights; s is about 4096 for the 7B.
        count += size if mode == "full" else int(size * 2 * config.lora.rank / 4096) if mode == "lora" else 0
    return count


def memory_per_worker(config: TrainConfig, parameters: dict[str, int], *, bf16: bool) -> int:
    """Bytes for weights, gradients and optimizer states of one worker; activations come on top.

    AdamW holds two float32 numbers for each trained weight, mixed precision a float32 copy besides.
    """
    trained = trained_weights(config, parameters)
    wide = 2 if bf16 and config.zero else 4
    weights = sum(parameters.values()) * (0.5 if config.quantize else wide)
    gradients_and_states = trained * (wide + (12 if wide == 2 else 8))
    return int(
        weights / (config.workers if config.zero == 3 else 1)
        + gradients_and_states / (config.workers if config.zero else 1)
    )


def checkpoint_bytes(config: TrainConfig, parameters: dict[str, int]) -> int:
    """Bytes of one checkpoint: trained weights and optimizer states, with float32 copies."""
    return trained_weights(config, parameters) * 16


def _check_disk(config: TrainConfig, parameters: dict[str, int]) -> None:
    """Raise UserError where a local disk has no room for the checkpoints to keep and one more."""
    if scheme_of(config.storage_path) != "file":
        return
    needed = checkpoint_bytes(config, parameters) * (config.keep + 1) + 4 * sum(parameters.values())
    folder = Path(file_path(config.storage_path)).absolute()
    needed -= sum(file.stat().st_size for file in (folder / config.name).rglob("*") if file.is_file())
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"storage_path: {config.keep + 1} checkpoints and the result need about {needed / 1e9:.1f} GB, "
            f"{folder} has {free / 1e9:.1f} GB free; lower keep or name another folder"
        )
