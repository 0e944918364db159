"""The contract with an engine: pixels and options in, judgements out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.judging_options import JudgingOptions


@dataclass(frozen=True, slots=True)
class Judgement:
    """An engine's answer about one image: two natural log-probabilities, or an error."""

    logprob_fake: float = float("nan")
    logprob_real: float = float("nan")
    explanation: str | None = None
    error: str | None = None
    completion_tokens: int = field(default=0, compare=False)
    """Tokens that the engine wrote."""
    is_cut: bool = field(default=False, compare=False)
    """Whether the explanation ends because it has its longest length."""


Listener = Callable[[Judgement], None]
"""Hears the judgement so far: once with the log-probabilities alone, then with an explanation that grows. It is called
on the engine's own thread and must return at once."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose request an image belongs to, for the engine's log lines and spans."""

    request_id: str = ""
    trace_headers: Mapping[str, str] = field(default_factory=dict)
    """Those of W3C Trace Context; empty without tracing."""

    def request_name(self, number: int) -> str:
        """The engine's own name of the request."""
        return f"{self.request_id}.{number}" if self.request_id else str(number)


NOBODY = Origin()
"""Images of a scan."""
_origin: ContextVar[Origin] = ContextVar("origin", default=NOBODY)


@contextmanager
def submitted_for(request_id: str, trace_headers: Mapping[str, str]) -> Iterator[None]:
    """Images that this thread submits within belong to that request."""
    token = _origin.set(Origin(request_id, trace_headers))
    try:
        yield
    finally:
        _origin.reset(token)


def origin() -> Origin:
    """Whose images this thread submits."""
    return _origin.get()


@dataclass(slots=True)
class EngineStats:
    """Counters of one engine since its start, read by benchmarks."""

    steps: int = 0
    """Engine steps that had at least one request."""
    running: int = 0
    """Sum over the steps of requests running in them."""
    full_steps: int = 0
    """Steps in which a request was waiting for a place: the engine was saturated."""
    busy_s: float = 0.0
    """Seconds spent in steps."""

    def count(self, requests: int, places: int, seconds: float = 0.0) -> None:
        """Add a step of so many seconds, with so many requests that run or wait for one of the places."""
        self.steps += 1
        self.running += min(requests, places)
        self.full_steps += requests > places
        self.busy_s += seconds


STALL = "no output for"
"""How the reason begins of an engine that was silent for too long."""


class EngineDiedError(RuntimeError):
    """The engine can take no more requests; its process must end so that Ray starts another."""

    @property
    def is_stall(self) -> bool:
        """Whether it gave no output for `stall_s`."""
        return str(self).startswith(STALL)


class Engine(Protocol):
    """One loaded model, called by several threads at once; it batches across their calls."""

    stats: EngineStats
    max_num_seqs: int

    @property
    def died(self) -> str | None:
        """Why the engine takes no more requests, as one that was silent for `stall_s`; None while it does."""

    def judge(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Judgement]:
        """Judge images of shape [height, width, 3], RGB, at the checkpoint's input size; one judgement each, in order.

        An image that the engine refuses twice gets a judgement with `error`. Raises EngineDiedError when the engine is
        lost.
        """

    def submit(
        self, pixels: NDArray[np.uint8], options: JudgingOptions | None = None, listener: Listener | None = None
    ) -> Future[Judgement]:
        """Judge one image without waiting for the judgement; it may wait for a place in the engine.

        `options` replace those that the engine was opened with; their `max_new_tokens` may only be lower. Cancelling
        the future ends the request and frees its place. Raises EngineDiedError, here or out of the future.
        """

    def expect(self, images: int) -> None:
        """Hear that so many more images are about to be submitted, or, below 0, so many fewer.

        An engine that would be idle otherwise may wait a few milliseconds for them, to judge them together.
        """

    def close(self) -> None:
        """Release the model."""
