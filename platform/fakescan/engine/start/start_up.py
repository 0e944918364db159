"""What an engine is told about its start beside its settings."""

from dataclasses import dataclass

from fakescan.engine.start.number_types import NumberTypes
from fakevlm.checkpoint.progress import Report, Step


def nobody_listens(step: Step) -> None:
    """For starts that nobody watches."""


@dataclass(frozen=True)
class StartUp:
    """The number types, the GPUs, and who hears how far the start is."""

    numbers: NumberTypes | None = None
    """What the engine computes in; None leaves it to the node."""
    gpus: float = 1.0
    """GPUs that belong to the engine: a fraction of one, one, or several. Without meaning on a CPU."""
    report: Report = nobody_listens
    """Hears of every step."""
    own_process: bool = False
    """Whether the engine has a process of its own on a CPU, too: for one with other work, and cores for both."""


PLAIN_START = StartUp()
"""A start on one GPU, or on the CPU, that nobody watches."""
