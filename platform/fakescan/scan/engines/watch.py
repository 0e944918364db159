"""The driver's eye on the engines: says what is wrong with them, and ends a pass that cannot go on as it is."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fakescan.engine.health.processes import kill_tree
from fakescan.errors import JobFailedError
from fakescan.scan.engines.book import MAX_STARTS, Loss, Shunned, Situation
from fakescan.scan.engines.life import EngineLife, Place
from fakescan.scan.engines.node_choice import NodeChoice
from fakescan.scan.ledger_follower import asking
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

_POLL_S = 1.0
_ANSWER_S = 10.0
"""Seconds in which the ledger must answer, which may be starting again."""
IDLE_S = 15.0
"""Seconds without work for any engine, and without a part, after which only shards of lost engines can be left."""
LOST_S = 60.0
"""Seconds in which Ray may start the process of a lost engine again, before its shards are given to others."""
WAITING_S = 30.0
"""Seconds without an engine of which nobody is told."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a node must have for one engine."""

    cpus: float
    gpus: float


class EngineWatch:
    """Follows the engines of one scan. `stop` is called, from a thread of its own, to end the present pass."""

    def __init__(self, ledger: Any, needs: Needs) -> None:
        self.nodes = NodeChoice()
        """Which nodes the pool may use for engines."""
        self.failure: Exception | None = None
        """Why the scan cannot go on."""
        self.starts_over = False
        """Whether the pass was ended so that another one does what is left."""
        self._ledger = ledger
        self._needs = needs
        self._shunned: dict[str, Shunned] = {}
        self._named: set[str] = set()
        self._book: str | None = None
        self._part_at = self._working_at = time.monotonic()
        self._said: str | None = None

    @contextmanager
    def following(self, stop: Callable[[], None]) -> Iterator[None]:
        """Watches one pass, whose actors do not exist yet."""
        import ray

        for node in ray.get(self._ledger.begin_pass.remote()):
            self._shunned.pop(node, None)
            self.nodes.include(node)
        self.starts_over = False
        self._part_at = self._working_at = time.monotonic()
        with asking(
            lambda: [self._ledger.situation.remote()],
            lambda situation: self._look(situation, stop),
            name="engine-watch",
            every_s=_POLL_S,
            answer_s=_ANSWER_S,
        ):
            yield

    def part_written(self) -> None:
        """The pass goes on."""
        self._part_at = time.monotonic()

    def _look(self, situation: Situation, stop: Callable[[], None]) -> bool:
        """Whether the pass goes on."""
        self._remember(situation)
        for life, place in situation.silent:
            self._end(life, place)
        self.failure = self._failure(situation)
        self.starts_over = self.failure is None and self._must_start_over(situation)
        if self.failure is not None or self.starts_over:
            stop()
            return False
        self._say_what_is_awaited(situation)
        return True

    def _remember(self, situation: Situation) -> None:
        if self._book not in (None, situation.ledger) and self._shunned:
            self._ledger.shun.remote(self._shunned)
        self._book = situation.ledger
        for node, what in situation.shunned.items():
            if node not in self._shunned:
                self._shunned[node] = what
                self.nodes.exclude(node)
                if node in self._named:
                    continue
                self._named.add(node)
                logger.warning(
                    "node %s gets no more engines: %d starts failed there, the last with: %s",
                    what.name, MAX_STARTS, what.reason,
                )  # fmt: skip
        if situation.working:
            self._working_at, self._said = time.monotonic(), None

    def _failure(self, situation: Situation) -> Exception | None:
        if situation.mistake is not None:
            return UserError(situation.mistake)
        if situation.loaded or situation.starting or not self._shunned or self._places():
            return None
        reasons = [f"{what.reason} (node {what.name})" for what in self._shunned.values()]
        more = f", and {len(reasons) - 1} more nodes" if len(reasons) > 1 else ""
        what = "no engine starts any more" if situation.loaded_ever else "no engine starts"
        return EnginesFailedError(
            f"{what}: {reasons[0]}{more}; what is done stays: run the same command again to resume"
        )

    def _must_start_over(self, situation: Situation) -> bool:
        """Whether there are shards that only an engine which does not come back could judge."""
        if situation.lost_s is None:
            return False
        if not situation.loaded:
            # Ray starts an actor again where it likes; the actors of another pass start where engines do.
            return bool(situation.parked) and not situation.starting and bool(self._places())
        idle_s = min(situation.idle_s, time.monotonic() - self._part_at)
        return idle_s >= IDLE_S and (situation.parked > 0 or situation.lost_s >= LOST_S)

    def _places(self) -> list[dict[str, Any]]:
        """The nodes on which an engine may start, were nothing else on them."""
        import ray

        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return [node for node in nodes if node["NodeID"] not in self._shunned and self._has_room(node)]

    def _has_room(self, node: Mapping[str, Any]) -> bool:
        there = node["Resources"]
        enough = there.get("CPU", 0.0) >= self._needs.cpus and there.get("GPU", 0.0) >= self._needs.gpus
        return bool(node["Alive"]) and enough

    def _say_what_is_awaited(self, situation: Situation) -> None:
        if situation.working or situation.starting or time.monotonic() - self._working_at < WAITING_S:
            return
        room = f"{self._needs.cpus:g} CPUs" + (f" and {self._needs.gpus:g} GPUs" if self._needs.gpus else "")
        why = f"no node has {room} to spare"
        if self._shunned:
            why += f", and {len(self._shunned)} get no engine: {next(iter(self._shunned.values())).reason}"
        if why != self._said:
            self._said = why
            logger.warning("waiting for an engine: %s", why)

    def _end(self, life: EngineLife, place: Place) -> None:
        """End a process that is stopped, or hangs so that nothing in it runs: Ray would wait for it forever."""
        import ray
        from ray.exceptions import RayError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        logger.warning("the process of an engine on node %s is silent and is ended", place.name)
        there = NodeAffinitySchedulingStrategy(place.node, soft=False)
        kill: Any = ray.remote(num_cpus=0, max_retries=0)(kill_tree).options(scheduling_strategy=there)
        reason: Loss | None = "gone"
        with suppress(RayError):  # the node is gone, and the process with it
            reason = "silent" if ray.get(kill.remote(place.pid, place.started), timeout=_ANSWER_S) else None
        self._ledger.bury.remote(life, reason)


class EnginesFailedError(JobFailedError):
    """No engine starts anywhere; the message is one line. The run can be resumed."""
