"""Opens the checkpoint that a setting names, on the driver and on every node that judges."""

from fakescan.storage import Store
from fakevlm.checkpoint import Checkpoint, open_checkpoint
from fakevlm.small import BUILT_IN


def open_model(model: str | None, store: Store) -> Checkpoint:
    """The checkpoint at a local path, hub id or URL; None is the built-in small one. Raises UserError."""
    if model is None:
        return open_checkpoint(str(BUILT_IN))
    return open_checkpoint(model, storage_options=store.fsspec_options(model))
