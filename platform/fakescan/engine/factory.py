"""Opens the engine that a configuration names."""

import importlib.util

from fakescan.engine.config import EngineConfig, SimulatedConfig
from fakescan.engine.contract import Engine, JudgingOptions
from fakescan.engine.vllm_setup import Device
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError


def check_installed(config: EngineConfig) -> None:
    """Raise UserError when the engine's package is missing."""
    if not isinstance(config, SimulatedConfig) and importlib.util.find_spec("vllm") is None:
        raise UserError("engine: vllm is not installed; install fakescan[cpu] or fakescan[gpu]")


def open_engine(config: EngineConfig, checkpoint: Checkpoint, ask: JudgingOptions, device: Device) -> Engine:
    """Load the engine; takes seconds on a CPU and up to minutes on a GPU. Raises UserError for an unfit checkpoint."""
    if isinstance(config, SimulatedConfig):
        from fakescan.engine.simulated import SimulatedEngine

        return SimulatedEngine(config, ask)
    if device == "cpu":
        from fakescan.engine.vllm_inprocess import InProcessEngine

        return InProcessEngine(config, checkpoint, ask)
    from fakescan.engine.vllm_async import AsyncEngine

    return AsyncEngine(config, checkpoint, ask, device)
