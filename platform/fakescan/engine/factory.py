"""Opens the engine that a configuration names."""

from fakescan.engine.base import Ask, Engine
from fakescan.engine.config import EngineConfig, FakeConfig
from fakescan.engine.vllm_setup import Device
from fakevlm.checkpoint import Checkpoint


def open_engine(config: EngineConfig, checkpoint: Checkpoint, ask: Ask, device: Device) -> Engine:
    """Load the engine; takes seconds on a CPU and up to minutes on a GPU. Raises UserError for an unfit checkpoint."""
    if isinstance(config, FakeConfig):
        from fakescan.engine.fake import FakeEngine

        return FakeEngine(config, ask)
    if device == "cpu":
        from fakescan.engine.vllm_inprocess import InProcessEngine

        return InProcessEngine(config, checkpoint, ask)
    from fakescan.engine.vllm_async import AsyncEngine

    return AsyncEngine(config, checkpoint, ask, device)
