"""The actor that a scan's driver owns and its stages call."""

from typing import Any

from fakescan.scan.content_cache import ContentCache
from fakescan.scan.poison import PoisonLedger
from fakescan.scan.small_machine import FirstPart
from fakescan.scan.store_weather import StoreWaits


class EngineStarts:
    """How many engines have begun to load and how many have loaded, those counted that were started again."""

    def __init__(self) -> None:
        self._loading = self._loaded = 0

    def report_loading(self) -> None:
        """An engine begins to load."""
        self._loading += 1

    def report_loaded(self) -> None:
        """One has loaded."""
        self._loaded += 1

    def engines(self) -> tuple[int, int]:
        """Those that have begun, and those that have loaded."""
        return self._loading, self._loaded


class Ledger(PoisonLedger, FirstPart, ContentCache, EngineStarts, StoreWaits):
    """Suspects, the first judged shard, contents, engines, stores that are waited for. It outlives every engine."""

    def __init__(self) -> None:
        PoisonLedger.__init__(self)
        FirstPart.__init__(self)
        ContentCache.__init__(self)
        EngineStarts.__init__(self)
        StoreWaits.__init__(self)


def remote_ledger() -> Any:
    """Start the ledger as an actor owned by this driver."""
    import ray

    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger).remote()
