"""The actor that a scan's driver owns and its stages call."""

from typing import Any

from fakescan.scan.content_cache import ContentCache
from fakescan.scan.engines.book import EngineBook
from fakescan.scan.engines.life import EngineLife, Place
from fakescan.scan.engines.stages import EngineStages
from fakescan.scan.poison.deaths import PoisonLedger
from fakescan.scan.small_machine import FirstPart
from fakescan.scan.store_weather import StoreWaits


class Ledger(PoisonLedger, FirstPart, ContentCache, EngineBook, EngineStages, StoreWaits):
    """Suspects, the first judged shard, contents, engines, and stores that are waited for.

    Without CPUs, so that it outlives every engine.

    It may be killed: its process is started again and knows nothing. Then a death or two are forgotten, contents are
    judged again, and the engines say anew that they are there.
    """

    def __init__(self) -> None:
        PoisonLedger.__init__(self)
        FirstPart.__init__(self)
        ContentCache.__init__(self)
        EngineBook.__init__(self)
        EngineStages.__init__(self)
        StoreWaits.__init__(self)

    def report_engine(self, life: EngineLife, place: Place, is_loaded: bool, calls: int, inside: int) -> None:
        """As in `EngineBook`; an engine that has ended a call has judged a shard."""
        super().report_engine(life, place, is_loaded, calls, inside)
        if calls > inside:
            self.report_judged()


def remote_ledger() -> Any:
    """Start the ledger as an actor owned by this driver, on its node: a node that is lost takes both or none."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger)
    return actor.options(scheduling_strategy=here).remote()
