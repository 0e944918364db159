"""What a replica tells the proxy of a request's images, for metrics, log and limits; clients do not see it."""

import re
from collections import Counter
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fakescan.serve.internal_headers import EARLY_OUTCOMES, OUTCOMES

if TYPE_CHECKING:  # the proxy reads the header, and should not load what an engine needs
    from fakescan.serve.detector import Result

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


def outcome_header(
    results: "Iterable[Result]",
    *,
    decode_s: float | None = None,
    judge_s: float | None = None,
    batch: float | None = None,
) -> dict[str, str]:
    """The header for these results, of a response that begins when they are known."""
    return {OUTCOMES.decode(): _text(results, decode_s=decode_s, judge_s=judge_s, batch=batch)}


def report_outcomes(
    scope: MutableMapping[str, Any],
    results: "Iterable[Result]",
    *,
    decode_s: float | None = None,
    judge_s: float | None = None,
    batch: float | None = None,
) -> None:
    """Tells the outcomes of a response that begins before they are known, at any time before its last message.

    `scope` is the request's; the last call counts.
    """
    scope[EARLY_OUTCOMES] = _text(results, decode_s=decode_s, judge_s=judge_s, batch=batch)


def read_outcomes(text: str) -> Outcomes:
    """The outcomes in a header. What it does not know it ignores."""
    images, times = list[ImageOutcome](), dict[str, float]()
    for part in text.split():
        if image := _IMAGE.fullmatch(part):
            images.append(ImageOutcome(image[1], image[2], int(image[3])))
        elif time := _TIMES.fullmatch(part):
            times[time[1]] = float(time[2])
    return Outcomes(tuple(images), **times)


def _text(results: "Iterable[Result]", **times: float | None) -> str:
    images = [
        f"{result.error.code if result.error else result.verdict}:{result.sha256 or '-'}:"
        f"{(result.width or 0) * (result.height or 0)}"
        for result in results
    ]
    return " ".join([*images, *(f"{name}={value:.6f}" for name, value in times.items() if value is not None)])
