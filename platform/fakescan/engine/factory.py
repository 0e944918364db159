"""Opens the engine that a configuration names."""

import importlib.util

from fakescan.engine.config import Device, EngineConfig, SimulatedConfig
from fakescan.engine.contract import Engine
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.start.arguments import check_arguments
from fakescan.engine.start.gpu_share import starting_alone
from fakescan.engine.start.start_up import PLAIN_START, StartUp
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError


def check_installed(config: EngineConfig) -> None:
    """Raise UserError when the engine's package is missing, or lacks an argument that it is to be given."""
    if config.package is not None and importlib.util.find_spec(config.package) is None:
        raise UserError(f"engine: {config.package} is not installed; install fakescan[cpu] or fakescan[gpu]")
    check_arguments(config.arguments)


def open_engine(
    config: EngineConfig, checkpoint: Checkpoint, options: JudgingOptions, device: Device, start: StartUp = PLAIN_START
) -> Engine:
    """Load the engine; takes seconds on a CPU and up to minutes on a GPU. Raises UserError for an unfit checkpoint."""
    if isinstance(config, SimulatedConfig):
        from fakescan.engine.simulated import SimulatedEngine

        return SimulatedEngine(config, options)
    if device == "cpu" and not start.own_process:
        from fakescan.engine.vllm_inprocess import InProcessEngine

        return InProcessEngine(config, checkpoint, options, start)
    from fakescan.engine.vllm_async import AsyncEngine

    with starting_alone(start):
        return AsyncEngine(config, checkpoint, options, device, start)
