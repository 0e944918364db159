"""Opens the checkpoint that a setting names, on the driver and on every node that judges."""

from fakescan.engine.config import EngineConfig
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.builtin import BUILT_IN
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint


def open_model(model: str | None, store: Store, *, show_progress: bool = False) -> Checkpoint:
    """The checkpoint at a local path, hub id or URL; None is the built-in small one. Raises UserError.

    `show_progress` makes a download visible on stderr: for the program that a person has started, not for workers.
    """
    if model is None:
        return open_checkpoint(str(BUILT_IN))
    return open_checkpoint(model, storage_options=store.fsspec_options(model), show_progress=show_progress)


def model_name(model: str | None, engine: EngineConfig, checkpoint: Checkpoint) -> tuple[str, str | None]:
    """Name of the model in results, and a warning when its verdicts mean nothing or less than one would think."""
    if engine.is_simulated:
        return "fake-engine", "the engine is simulated: these verdicts mean nothing"
    name = "builtin-small" if model is None else redact(model)
    if checkpoint.trained:
        return name, f"the model {name} {checkpoint.notice}" if checkpoint.notice else None
    return f"{name} (untrained)", f"the model {name} is untrained: its verdicts mean nothing; name one with --model"
