"""The actor that a scan's driver owns and its stages call."""

from typing import Any

from fakescan.scan.content_cache import ContentCache
from fakescan.scan.poison import PoisonLedger
from fakescan.scan.small_machine import FirstPart


class Ledger(PoisonLedger, FirstPart, ContentCache):
    """Suspects, whether a shard has been judged, and contents. Without CPUs, so that it outlives every engine."""

    def __init__(self) -> None:
        PoisonLedger.__init__(self)
        FirstPart.__init__(self)
        ContentCache.__init__(self)


def remote_ledger() -> Any:
    """Start the ledger as an actor owned by this driver."""
    import ray

    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger).remote()
