"""What vLLM's scheduler does in each step, counted by a logger of statistics that is added to an engine.

The engines' own counters say how many requests are in them, not how many run: with a full KV cache most of them wait.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fakescan.engine.contract import EngineStats
from fakescan.scan.judge import JudgeSettings
from fakescan.scan.stages import Write
from fakescan.scan.streaming import judge_and_write


@dataclass(slots=True)
class StepStats(EngineStats):
    """Counters that only the logger adds to, apart from the seconds spent in steps."""

    waiting: int = 0
    """Sum over the steps of requests that waited for a place."""
    tokens: int = 0
    """Tokens computed, of prompts and of explanations."""
    kv_cache: float = 0.0
    """Sum over the steps of the share of the KV cache in use."""
    preempted: int = 0
    """Requests that were put back for want of room in the KV cache."""

    def count(self, requests: int, places: int, seconds: float = 0.0) -> None:
        """Add the seconds of a step: its requests are counted where they are known."""
        self.busy_s += seconds


class StepLogger:
    """One of vLLM's loggers of statistics, which are called after every step."""

    def __init__(self, stats: StepStats) -> None:
        self._stats = stats

    def record(self, scheduler_stats: Any, iteration_stats: Any, **_: Any) -> None:
        """Count a step. Each request that ran to its next token in it has written one."""
        stats = self._stats
        ran = 0 if iteration_stats is None else iteration_stats.num_generation_tokens
        if ran:
            stats.steps += 1
            stats.running += ran
            stats.tokens += ran + iteration_stats.num_prompt_tokens
            stats.preempted += iteration_stats.num_preempted_reqs
            if scheduler_stats is not None:
                stats.waiting += scheduler_stats.num_waiting_reqs
                stats.kv_cache += scheduler_stats.kv_cache_usage
                stats.full_steps += scheduler_stats.num_waiting_reqs > 0

    def log(self) -> None:
        """Nothing is printed."""

    def log_engine_initialized(self) -> None:
        """Nothing is printed."""

    def record_sleep_state(self, *_: Any, **__: Any) -> None:
        """Engines do not sleep here."""

    def record_admission_rejection(self, *_: Any, **__: Any) -> None:
        """None is rejected."""


def watch_steps(engine: Any) -> None:
    """Count the steps of a vLLM engine of this project from now on; a simulated one counts its own."""
    if (stats := watched_manager(getattr(engine, "_engine", None))) is not None:
        engine.stats = stats


def watched_manager(vllm_engine: Any) -> StepStats | None:
    """Add a logger to vLLM's own engine. None where it was started without statistics."""
    manager = getattr(vllm_engine, "logger_manager", None)
    if manager is None:
        return None
    stats = StepStats()
    manager.stat_loggers.append(StepLogger(stats))
    return stats


class JudgeAndWrite(judge_and_write.JudgeAndWrite):
    """The scan's own stage, whose engine's steps are counted; the counters travel with each part's summary."""

    def __init__(self, settings: JudgeSettings, ledger: Any, write: Write) -> None:
        super().__init__(settings, ledger, write)
        watch_steps(self._judge._engine)


def read_counters(stats: EngineStats) -> dict[str, float]:
    """An engine's counters now, by their names."""
    return {name: getattr(stats, name) for cls in type(stats).__mro__ for name in getattr(cls, "__slots__", ())}


def counted_since(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was counted between two readings."""
    return {name: value - before.get(name, 0) for name, value in after.items()}
