"""Opens the checkpoint that a setting names, on the driver and on every node that judges."""

from typing import NamedTuple

from fakescan.engine.config import EngineConfig
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.builtin import BUILT_IN, BUILT_IN_NAME
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.checkpoint.progress import Report
from fakevlm.errors import UserError
from fakevlm.reading import Meaning

_NO_GENERATOR = "knows no generator: a low score says only that it found no forgery"


def open_model(
    model: str | None, store: Store, *, show_progress: bool = False, report: Report | None = None
) -> Checkpoint:
    """The checkpoint at a local path, hub id or URL; None is the built-in small one. Raises UserError.

    `show_progress` makes a download visible on stderr: for the program that a person has started, not for workers.
    `report` hears of it, and of what else takes its time.
    """
    if model is None:
        return open_checkpoint(str(BUILT_IN), report=report)
    options = store.fsspec_options(model)
    return open_checkpoint(model, storage_options=options, show_progress=show_progress, report=report)


class PinnedModel(NamedTuple):
    """The checkpoint that a driver has opened, for the nodes that judge for it."""

    location: str | None
    """What means the same on every node and later, such as a hub id with its commit; None is the built-in one."""
    weights_sha256: str
    files_sha256: str = ""
    """Of what else changes its words; empty where the driver has not looked."""


def pinned_model(model: str | None, checkpoint: Checkpoint) -> PinnedModel:
    """The checkpoint that was opened for a setting."""
    location = None if model is None else checkpoint.pinned
    return PinnedModel(location, checkpoint.weights_sha256, checkpoint.files_sha256)


def open_pinned(model: PinnedModel, store: Store, report: Report | None = None) -> Checkpoint:
    """The driver's checkpoint on a node that judges for it. Raises UserError where another one is found there."""
    checkpoint = open_model(model.location, store, report=report)
    where = redact(str(model.location))
    if checkpoint.weights_sha256 != model.weights_sha256:
        raise UserError(f"model: {where} holds other weights on this node than on the driver's")
    if model.files_sha256 and checkpoint.files_sha256 != model.files_sha256:
        raise UserError(
            f"model: {where} has another configuration, processor or tokenizer on this node than on the driver's"
        )
    return checkpoint


def model_meaning(engine: EngineConfig, checkpoint: Checkpoint) -> Meaning:
    """What the verdicts of an engine with a checkpoint are worth."""
    return Meaning.NONE if engine.is_simulated else checkpoint.meaning


def model_name(model: str | None, engine: EngineConfig, checkpoint: Checkpoint) -> tuple[str, str | None]:
    """Name of the model in results, and a warning when its verdicts mean nothing or less than one would think."""
    if engine.is_simulated:
        return "fake-engine", "the engine is simulated: these verdicts mean nothing"
    name = BUILT_IN_NAME if model is None else redact(model)
    if checkpoint.trained:
        notice = checkpoint.notice or ("" if checkpoint.knows_generators else _NO_GENERATOR)
        return name, f"the model {name} {notice}" if notice else None
    return f"{name} (untrained)", f"the model {name} is untrained: its verdicts mean nothing; name one with --model"
