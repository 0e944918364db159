"""The inputs of a run: checkpoint, records and their order, opened, and the facts that bind a run to them."""

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fakescan.engine.model import open_model
from fakescan.storage.preflight import check_readable
from fakescan.train.config import TrainConfig
from fakescan.train.feed import Samples, for_training, open_samples, with_prompt
from fakescan.train.plan import Plan
from fakescan.train.result.export import knows_generators
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.data.dataset import split_names
from fakevlm.data.record import Record
from fakevlm.errors import UserError


@dataclass(frozen=True)
class Inputs:
    """What a run is made from."""

    checkpoint: Checkpoint
    split: str | None
    eval_split: str | None
    samples: Samples
    held_out: Samples | None
    by_held_out: bool
    """Whether the held-out records decide which checkpoint is the model."""
    plan: Plan

    @property
    def facts(self) -> dict[str, Any]:
        """What the result depends on beside the settings, for `TrainFolder`."""
        facts = {
            "weights_sha256": self.checkpoint.weights_sha256,
            "samples": self.plan.samples,
            "epoch_samples": self.plan.epoch_samples,
            "steps": self.plan.steps,
            "records": records_hash(self.samples.dataset.records),
            "held_out": self.eval_split,
            "knows_generators": knows_generators(self.checkpoint, self.samples.dataset.records),
        }
        if self.held_out is not None and self.by_held_out:
            facts["held_out_records"] = records_hash(self.held_out.dataset.records)
        return facts


def open_inputs(config: TrainConfig) -> Inputs:
    """Open the checkpoint and the records. Raises UserError, one line that names the setting."""
    if config.zero and importlib.util.find_spec("deepspeed") is None:
        raise UserError("zero: deepspeed is not installed; install fakescan[train], or set zero to 0")
    if "lora" in config.modes.values() and importlib.util.find_spec("peft") is None:
        raise UserError("lora: peft is not installed; install fakescan[train]")
    for package in ("matplotlib", "tensorboardX"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{package} is not installed; install fakescan[train]")
    check_readable(config.data, config.data_store)
    checkpoint = with_prompt(open_model(config.model, config.model_store, show_progress=True), config)
    split, eval_split = _splits(config)
    left_out = frozenset(config.exclude)
    samples = open_samples(config, checkpoint, split, left_out)
    held_out = None if eval_split is None else open_samples(config, checkpoint, eval_split, left_out)
    if config.best_by is not None and held_out is None:
        raise UserError("best_by: there is no held-out split to compare by; name one with eval_split")
    _check_exclude(config, samples, held_out)
    samples, plan = for_training(samples, config)
    if config.schedule_steps is not None and config.schedule_steps < plan.steps:
        raise UserError(
            f"schedule_steps: the learning rate would be zero after {config.schedule_steps:,} of the run's "
            f"{plan.steps:,} steps; raise it, or lower max_steps"
        )
    return Inputs(checkpoint, split, eval_split, samples, held_out, config.best_by is not None, plan)


def records_hash(records: Sequence[Record]) -> str:
    """A hash over what a run learns from its records, in their order: image, label and conversation of each."""
    digest = hashlib.sha256()
    for record in records:
        turns = [[turn.from_, turn.value] for turn in record.conversations]
        digest.update(json.dumps([record.image, record.label, turns]).encode())
        digest.update(b"\n")
    return digest.hexdigest()[:32]


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


def _check_exclude(config: TrainConfig, samples: Samples, held_out: Samples | None) -> None:
    every = [samples] if held_out is None else [samples, held_out]
    known = {record.image for one in every for record in one.dataset.records}
    if unknown := [image for image in config.exclude if image not in known]:
        raise UserError(
            f"exclude: no record has the image {unknown[0]!r}; name images as the records do, and leave the records in "
            "their file"
        )
    if len(samples.skipped) == len(samples.dataset.records):
        raise UserError("exclude: no record is left to learn from")
