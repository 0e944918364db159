"""Decides what a run computes in, once: whatever machine goes on with it computes in the same."""

import logging

from fakescan.engine.config import Device, EngineConfig
from fakescan.engine.start.number_types import AUTO, NumberTypes, conversion, decided, earlier_types
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakevlm.checkpoint.checkpoint import Checkpoint

logger = logging.getLogger(__name__)


def decide_types(
    folder: RunFolder, run: RunFile, engine: EngineConfig, checkpoint: Checkpoint, device: Device
) -> NumberTypes | None:
    """What every engine of the run computes in; None for a simulated one.

    float16 weights run as they are on a GPU, and not on a CPU. What is decided for them when engines are first
    started is written into run.json, and said.
    """
    if run.numbers is None:
        return earlier_types(engine, checkpoint)
    types = decided(run.numbers, device)
    if types != run.numbers:
        folder.save(run.model_copy(update={"numbers": types}))
    if engine.dtype == AUTO and checkpoint.dtype == "float16" and device == "cpu":
        logger.warning("%s", conversion(types, device) or _slow(types))
    return types


def _slow(types: NumberTypes) -> str:
    return (
        f"the run computes in {types.weights}, as it began; a CPU does so very slowly: go on with it on a GPU, "
        "or use another --output"
    )
