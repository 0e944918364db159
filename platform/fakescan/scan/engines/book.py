"""What is known of a scan's engines. Part of the actor that the driver owns.

A node on which `MAX_STARTS` starts failed in a row gets no more engines; one on which an engine works keeps it.
"""

import math
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from fakescan.scan.engines.life import EngineLife, Place

MAX_STARTS = 3
"""Starts that may fail in a row on a node."""
BACK_OFF_S = (2.0, 8.0)
"""Pauses after the first and the second."""
BEAT_S = 5.0
"""How often the process of an engine says that it is alive."""
SILENT_S = 30.0
"""Seconds without a word of a process after which it does not count as working; a busy machine delays some."""
LOADING_SILENT_S = 120.0
"""The same of one that loads an engine, which may hold up everything else in it."""
STOPPED = "its process ended while the engine was loading"

Loss = Literal["start", "stalled", "died", "silent", "gone"]
"""Why there is an engine less: it did not load, gave no output for `stall_s`, died, its process hung, or its process
ended without a word."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a process that wants to load an engine is to do: to load it, unless a field says otherwise."""

    wait_s: float = 0.0
    """Ask again after so many seconds."""
    leave: str | None = None
    """Do not load here; why not."""
    has_shards: bool = False
    """Whether the actor had an engine before, so that Ray may hold shards for it."""


@dataclass(slots=True)
class _Process:
    place: Place
    heard_at: float
    active_at: float
    is_loading: bool = False
    is_loaded: bool = False
    is_parked: bool = False
    """Whether it was told not to load here."""
    loading_since: float = 0.0
    calls: int = 0
    is_counted: bool = False
    """Whether its loss is in the book."""

    @property
    def patience_s(self) -> float:
        """Seconds without a word of it after which it is to be ended."""
        if not self.is_loaded:
            return LOADING_SILENT_S
        return math.inf if self.place.stall_s is None else max(SILENT_S, self.place.stall_s)


@dataclass(slots=True)
class _Faults:
    """Starts that failed in a row."""

    count: int = 0
    at: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Shunned:
    """A node that gets no more engines."""

    name: str
    reason: str
    """Of the last start that failed."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The engines of the present pass, as the driver learns of them."""

    ledger: str
    """Changes when the ledger has lost its memory."""
    loaded_ever: bool = False
    working: int = 0
    """Engines that are loaded and alive."""
    loaded: int = 0
    """The same, and those that have not said a word for a while."""
    starting: int = 0
    """Processes that load an engine, or wait until they may."""
    idle_s: float = 0.0
    """For how long no working engine has had a shard."""
    lost_s: float | None = None
    """For how long an actor that had an engine has been without one that works or starts; None: there is no such."""
    lost: int = 0
    """Actors that had an engine and are without one that works or starts."""
    parked: int = 0
    """Actors that had an engine and may not load another where they are."""
    restarts: int = 0
    """Processes in the place of an earlier one of the same actor, so far."""
    losses: Mapping[str, int] = field(default_factory=dict)
    """Engines lost so far, by `Loss`."""
    shunned: Mapping[str, Shunned] = field(default_factory=dict)
    """By Ray's id of the node."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """For each node on which the last start failed, why."""
    silent: tuple[tuple[EngineLife, Place], ...] = ()
    """Processes that have not said a word for longer than their patience."""
    mistake: str | None = None
    """A setting that is wrong wherever an engine starts."""


class EngineBook:
    """Which processes have engines, and where none starts.

    A process asks `may_load` until it may, loads, and says `report_loaded` or `report_failed`; until its end it says
    `report_engine` every `BEAT_S`. All may be said again, also to a book that has forgotten everything.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._now = clock
        self._name = uuid.uuid4().hex
        self._processes: dict[EngineLife, _Process] = {}
        self._process_of: dict[str, EngineLife] = {}
        self._lost: dict[str, float] = {}
        """Actors that had an engine, and since when they have none."""
        self._had_engine: set[str] = set()
        self._retired: set[str] = set()
        self._faults: dict[str, _Faults] = {}
        self._own_faults: dict[tuple[str, str], _Faults] = {}
        """By actor and node, where the actor had an engine before."""
        self._shunned: dict[str, Shunned] = {}
        self._mistake: str | None = None
        self._begun = self._loaded = self._restarts = 0
        self._losses: Counter[str] = Counter()

    def begin_pass(self) -> set[str]:
        """The driver starts over with new actors: what the earlier ones still say is of no interest.

        Returns the nodes on which engines worked until now: they are not shunned any more, whatever failed beside them.
        """
        worked = {process.place.node for process in self._processes.values() if process.is_loaded}
        for node in worked:
            self._shunned.pop(node, None)
            self._faults.pop(node, None)
        self._retired |= self._process_of.keys()
        self._processes.clear()
        self._process_of.clear()
        self._lost.clear()
        self._own_faults.clear()
        return worked

    def may_load(self, life: EngineLife, place: Place) -> Order:
        """Whether a process may load an engine now."""
        process = self._hear(life, place)
        if process is None or self._mistake is not None:
            return Order(wait_s=BEAT_S)  # the driver is about to end it
        own, has_shards = self._own_faults.get((life.actor, place.node)), life.actor in self._had_engine
        reason = None
        if own is not None:
            reason = own.reason if own.count >= MAX_STARTS else None
        elif place.node in self._shunned:
            reason = self._shunned[place.node].reason
        if reason is not None:
            process.is_parked = True
            return Order(leave=reason, has_shards=has_shards)
        process.is_parked = False
        faults = own or self._faults.get(place.node)
        if faults is not None and faults.count:
            wait = faults.at + BACK_OFF_S[min(faults.count, len(BACK_OFF_S)) - 1] - self._now()
            if wait > 0:
                return Order(wait_s=wait, has_shards=has_shards)
        process.is_loading, process.loading_since = True, self._now()
        return Order(has_shards=has_shards)

    def report_loaded(self, life: EngineLife, place: Place) -> None:
        """An engine has loaded."""
        process = self._hear(life, place)
        if process is not None and not process.is_loaded:
            process.is_loading, process.is_loaded = False, True
            process.active_at = self._now()
            self._loaded += 1
            self._had_engine.add(life.actor)
            self._lost.pop(life.actor, None)
            self._faults.pop(place.node, None)
            self._own_faults[life.actor, place.node] = _Faults()

    def report_failed(self, life: EngineLife, place: Place, reason: str) -> None:
        """An engine did not load."""
        process = self._hear(life, place)
        if process is not None and process.is_loading:
            self._count_fault(life, process, reason)

    def report_mistake(self, line: str) -> None:
        """An engine cannot load anywhere, because of a setting."""
        self._mistake = self._mistake or line

    def report_engine(self, life: EngineLife, place: Place, is_loaded: bool, calls: int, inside: int) -> None:
        """A process is alive; it has been called so often, and so many calls are in it now."""
        process = self._hear(life, place)
        if process is None:
            return
        if is_loaded and not process.is_loaded:
            self.report_loaded(life, place)
        if inside or calls != process.calls:
            process.active_at, process.calls = self._now(), calls

    def report_lost(self, life: EngineLife, reason: Loss) -> None:
        """An engine died, and its process is about to end."""
        process = self._processes.get(life)
        if process is not None:
            self._count_loss(process, reason)

    def bury(self, life: EngineLife, reason: Loss | None = "silent") -> None:
        """A silent process was ended; without a reason it was gone already, which a pool that shrinks explains."""
        process = self._processes.pop(life, None)
        if process is not None and process.is_loading:
            self._count_fault(life, process, STOPPED)
        if process is not None and process.is_loaded:
            if reason is not None:
                self._count_loss(process, reason)
            self._lost.setdefault(life.actor, process.heard_at)

    def shun(self, shunned: Mapping[str, Shunned]) -> None:
        """What the driver knows of nodes, for a book that has forgotten it."""
        for node, what in shunned.items():
            self._shunned.setdefault(node, what)

    def engines(self) -> tuple[int, int]:
        """How many engines have begun to load and how many have loaded, those counted that were started again."""
        return self._begun, self._loaded

    def situation(self) -> Situation:
        """The engines as they are now."""
        now = self._now()
        heard = [process for process in self._processes.values() if now - process.heard_at <= SILENT_S]
        working = [process for process in heard if process.is_loaded]
        starting = {
            life.actor
            for life, process in self._processes.items()
            if not process.is_loaded and not process.is_parked and now - process.heard_at <= SILENT_S
        }
        lost = {actor: since for actor, since in self._lost.items() if actor not in starting}
        for life, process in self._processes.items():
            if process.is_loaded and now - process.heard_at > SILENT_S:
                lost[life.actor] = process.heard_at
        return Situation(
            ledger=self._name,
            loaded_ever=self._loaded > 0,
            working=len(working),
            loaded=sum(process.is_loaded for process in self._processes.values()),
            starting=len(starting),
            idle_s=now - max((process.active_at for process in working), default=now),
            lost_s=now - min(lost.values()) if lost else None,
            lost=len(lost),
            parked=sum(process.is_parked and life.actor in lost for life, process in self._processes.items()),
            shunned=dict(self._shunned),
            faults={node: faults.reason for node, faults in self._faults.items() if faults.count},
            silent=tuple(
                (life, process.place)
                for life, process in self._processes.items()
                if now - process.heard_at > process.patience_s
            ),
            mistake=self._mistake,
            restarts=self._restarts,
            losses=dict(self._losses),
        )

    def _hear(self, life: EngineLife, place: Place) -> _Process | None:
        """The process, which has said something; None for one of an earlier pass."""
        if life.actor in self._retired:
            return None
        process = self._processes.get(life)
        if process is None:
            earlier = self._process_of.get(life.actor)
            if earlier is not None:
                self._restarts += 1
                self.bury(earlier, "gone")
            elif place.is_restarted:  # this book was started again as well, and must expect the worst
                self._had_engine.add(life.actor)
                self._lost[life.actor] = self._now()
            process = _Process(place, self._now(), self._now())
            self._processes[life], self._process_of[life.actor] = process, life
            self._begun += 1
        process.heard_at = self._now()
        return process

    def _count_fault(self, life: EngineLife, process: _Process, reason: str) -> None:
        process.is_loading = False
        self._count_loss(process, "start")
        node = process.place.node
        own = self._own_faults.get((life.actor, node))
        for faults in (self._faults.setdefault(node, _Faults()), own):
            # Starts that failed side by side are one: several engines of a node fall to the same fault.
            if faults is not None and process.loading_since >= faults.at:
                faults.count, faults.at, faults.reason = faults.count + 1, self._now(), reason
        if self._faults[node].count >= MAX_STARTS:
            self._shunned.setdefault(node, Shunned(process.place.name, reason))

    def _count_loss(self, process: _Process, reason: Loss) -> None:
        if not process.is_counted:
            process.is_counted = True
            self._losses[reason] += 1
