"""The actor that a scan's driver owns and its stages ask."""

from typing import Any

from fakescan.scan.head_start import FirstPart
from fakescan.scan.poison import PoisonLedger


class Ledger(PoisonLedger, FirstPart):
    """Suspected images, and whether the engines have begun. Without CPUs, so that it outlives every engine."""

    def __init__(self) -> None:
        PoisonLedger.__init__(self)
        FirstPart.__init__(self)


def remote_ledger() -> Any:
    """Start the ledger as an actor owned by this driver."""
    import ray

    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger).remote()
