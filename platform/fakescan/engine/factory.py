"""Opens the engine that a configuration names."""

import importlib.util

from fakescan.engine.config import Device, EngineConfig, SimulatedConfig
from fakescan.engine.contract import Engine
from fakescan.engine.judging_options import JudgingOptions
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError


def check_installed(config: EngineConfig) -> None:
    """Raise UserError when the engine's package is missing."""
    if config.package is not None and importlib.util.find_spec(config.package) is None:
        raise UserError(f"engine: {config.package} is not installed; install fakescan[cpu] or fakescan[gpu]")


def open_engine(config: EngineConfig, checkpoint: Checkpoint, options: JudgingOptions, device: Device) -> Engine:
    """Load the engine; takes seconds on a CPU and up to minutes on a GPU. Raises UserError for an unfit checkpoint."""
    if isinstance(config, SimulatedConfig):
        from fakescan.engine.simulated import SimulatedEngine

        return SimulatedEngine(config, options)
    if device == "cpu":
        from fakescan.engine.vllm_inprocess import InProcessEngine

        return InProcessEngine(config, checkpoint, options)
    from fakescan.engine.vllm_async import AsyncEngine

    return AsyncEngine(config, checkpoint, options, device)
