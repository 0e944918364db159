"""What a replica tells the proxy of a request's images, for metrics, log and limits; clients do not see it."""

import functools
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

from fakescan.serve.internal_headers import OUTCOMES

VERDICTS = frozenset({"real", "fake", "uncertain"})
"""Outcomes that are no errors: those of `Verdict`, which loads more than a proxy needs."""
_IMAGE = re.compile(r"([a-z_]{1,32}):([0-9a-f]{64}|-):(\d{1,12})")
_TIMES = re.compile(r"(decode_s|judge_s|batch)=(\d{1,6}(?:\.\d{1,6})?)")


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image."""

    outcome: str
    """Its verdict, or the code of its error."""
    sha256: str
    """Of the image's bytes, in hex; `-` where it is not known."""
    pixels: int
    """Width times height; 0 where they are not known."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of a request."""

    images: tuple[ImageOutcome, ...] = ()
    decode_s: float | None = None
    """Seconds until the slowest image was decoded."""
    judge_s: float | None = None
    """Seconds of the slowest image in the engine, its queue included."""
    batch: float | None = None
    """Images in the engine's batch when these were judged."""

    @property
    def counts(self) -> Counter[str]:
        """Images by outcome."""
        return Counter(image.outcome for image in self.images)


class ImageResult(Protocol):
    """The part of a result that is told: `Result`. The proxy should not load what that needs."""

    index: int
    sha256: str
    width: int | None
    height: int | None

    @property
    def outcome(self) -> str:
        """Its verdict, or the code of its error."""
        ...


def outcome_header(
    results: Iterable[ImageResult],
    *,
    decode_s: float | None = None,
    judge_s: float | None = None,
    batch: float | None = None,
) -> dict[str, str]:
    """The header for these results, of a response that begins when they are known."""
    return {OUTCOMES.decode(): _text(results, decode_s=decode_s, judge_s=judge_s, batch=batch)}


class Judged(Protocol):
    """A result and how it came about: `JudgedImage`."""

    @property
    def result(self) -> ImageResult:
        """What became of the image."""
        ...

    @property
    def decode_s(self) -> float:
        """Seconds until it was decoded."""
        ...

    @property
    def judge_s(self) -> float:
        """Seconds in the engine."""
        ...

    @property
    def batch(self) -> float:
        """Images in the engine's batch; 0 where it is not known."""
        ...


P = ParamSpec("P")
J = TypeVar("J", bound=Judged)


@dataclass
class Notes:
    """The images of one request that have been judged so far."""

    judged: list[Judged] = field(default_factory=list)

    def text(self) -> str:
        """For `read_outcomes`; empty where there are none."""
        if not self.judged:
            return ""
        batches = [one.batch for one in self.judged if one.batch]
        return _text(
            (one.result for one in sorted(self.judged, key=lambda one: one.result.index)),
            decode_s=max(one.decode_s for one in self.judged),
            judge_s=max(one.judge_s for one in self.judged),
            batch=sum(batches) / len(batches) if batches else None,
        )


_NOTES: ContextVar[Notes | None] = ContextVar("notes", default=None)


@contextmanager
def noting_outcomes() -> Iterator[Notes]:
    """Notes what `notes_outcome` sees while the block runs, in tasks that it starts as well."""
    notes = Notes()
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def notes_outcome(judge: Callable[P, Coroutine[Any, Any, J]]) -> Callable[P, Coroutine[Any, Any, J]]:
    """A function that judges an image, and notes the outcome for the request it is called for.

    So every image is counted and logged, in whatever format it is answered, streams, refusals and time-outs included.
    """

    @functools.wraps(judge)
    async def judge_and_note(*args: P.args, **kwargs: P.kwargs) -> J:
        judged = await judge(*args, **kwargs)
        if (notes := _NOTES.get()) is not None:
            notes.judged.append(judged)
        return judged

    return judge_and_note


def read_outcomes(text: str) -> Outcomes:
    """The outcomes in a header. What it does not know it ignores."""
    images, times = list[ImageOutcome](), dict[str, float]()
    for part in text.split():
        if image := _IMAGE.fullmatch(part):
            images.append(ImageOutcome(image[1], image[2], int(image[3])))
        elif time := _TIMES.fullmatch(part):
            times[time[1]] = float(time[2])
    return Outcomes(tuple(images), **times)


def _text(results: Iterable[ImageResult], **times: float | None) -> str:
    images = [
        f"{result.outcome}:{result.sha256 or '-'}:{(result.width or 0) * (result.height or 0)}" for result in results
    ]
    return " ".join([*images, *(f"{name}={value:.6f}" for name, value in times.items() if value is not None)])
