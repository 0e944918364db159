"""Which rows of a run are looked at again, and what the looks make of their verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fakescan.run.stability.columns import HOLDS, LOGITS, NOTE, SCORES, VARIANTS
from fakevlm.reading import NO_FORGERY_FOUND, Meaning, Reading, counted_as, shown
from fakevlm.verdict import Calibration, Verdict, decide, score_of

Stability = Literal["none", "flagged", "sample", "all"]
"""Which images are looked at: none, those whose score reaches the threshold, a share of all, or every one."""
Unstable = Literal["keep", "uncertain"]
"""What becomes of a verdict that does not hold: it is kept, or is `uncertain`."""
DEFAULT_SHARE = 0.02
"""The share of `sample` unless another is named."""
_KEY_DIGITS = 16
_KEYS = float(16**_KEY_DIGITS)


@dataclass(frozen=True)
class VariantScore:
    """What the model says of one variant, under the run's calibration."""

    verdict: Verdict
    score: float
    logit: float


@dataclass(frozen=True)
class Look:
    """What the model says of the variants of one image."""

    scores: tuple[VariantScore | None, ...]
    """In the order of `VARIANTS`; None for one that could not be judged."""
    note: str | None = None
    """Why some could not be."""

    def holds(self, verdict: Verdict) -> bool | None:
        """Whether every variant has the image's verdict; None if some could not be judged and the others have it."""
        if any(one is not None and one.verdict is not verdict for one in self.scores):
            return False
        return None if None in self.scores else True

    def columns(self, verdict: Verdict) -> dict[str, Any]:
        """The values of the row's columns; `verdict` is that of the image as it is."""
        values: dict[str, Any] = {HOLDS: self.holds(verdict), NOTE: self.note}
        for score, logit, one in zip(SCORES, LOGITS, self.scores, strict=True):
            values[score], values[logit] = (None, None) if one is None else (one.score, one.logit)
        return values


@dataclass(frozen=True)
class Strip:
    """The stability strip of a run, as its identity has it."""

    stability: Stability
    share: float | None
    unstable: Unstable
    calibration: Calibration

    @property
    def is_on(self) -> bool:
        """Whether the run has a strip."""
        return self.stability != "none"

    def may_look(self, source_key: str) -> bool:
        """Whether a row may be looked at, as far as its address says it; the score may still say no."""
        if self.stability == "sample":
            assert self.share is not None
            return is_sampled(source_key, self.share)
        return self.is_on

    def looks(self, source_key: str, logit: float) -> bool:
        """Whether a row with a verdict is looked at."""
        if self.stability == "flagged":
            return score_of(logit, self.calibration) >= self.calibration.threshold
        return self.may_look(source_key)

    def own_verdict(self, logit: float) -> Verdict:
        """The verdict of an image as it is, whatever its variants say."""
        return decide(score_of(logit, self.calibration), self.calibration)

    def verdict(self, own: Verdict, holds: bool | None) -> Verdict:
        """The row's verdict, given that of the image as it is."""
        return Verdict.UNCERTAIN if holds is False and self.unstable == "uncertain" else own

    def read_look(self, row: Mapping[str, Any]) -> Look | None:
        """The look that a row holds, under this calibration; None for a row that was not looked at."""
        logits = [row[name] for name in LOGITS]
        if row[NOTE] is None and all(logit is None for logit in logits):
            return None
        return Look(tuple(None if logit is None else self.scored(logit) for logit in logits), row[NOTE])

    def scored(self, logit: float) -> VariantScore:
        """A variant's score and verdict."""
        score = score_of(logit, self.calibration)
        return VariantScore(decide(score, self.calibration), score, logit)

    def remark(self, reading: Reading, look: Look, *, own: Verdict, score: float, meaning: Meaning) -> str | None:
        """What belongs beside the row's verdict; `reading` is that of the image as it is, whose verdict is `own`."""
        if look.holds(own) is not False or meaning is Meaning.NONE:
            return reading.remark
        became = self.verdict(own, False)
        words = [one.words for one in reading.remarks if became is own or one.words != NO_FORGERY_FOUND]
        return " ".join([*words, self._change(own, score, look.scores, meaning, became)])

    def _change(
        self,
        own: Verdict,
        score: float,
        scores: Sequence[VariantScore | None],
        meaning: Meaning,
        became: Verdict,
    ) -> str:
        threshold = self.calibration.threshold
        others = [
            f"{counted_as(one.verdict, meaning)} ({shown(one.score, threshold)[0]}) {variant.words}"
            for variant, one in zip(VARIANTS, scores, strict=True)
            if one is not None and one.verdict is not own
        ]
        listed = others[0] if len(others) == 1 else f"{', '.join(others[:-1])} and {others[-1]}"
        words = (
            f"The verdict does not hold: {counted_as(own, meaning)} ({shown(score, threshold)[0]}) as it is, {listed}"
        )
        return f"{words}; so it counts as uncertain." if became is not own else f"{words}."


def share_of(stability: Stability, given: float | None) -> float | None:
    """The share of a sample, None for anything else."""
    if stability != "sample":
        return None
    return DEFAULT_SHARE if given is None else given


def is_sampled(source_key: str, share: float) -> bool:
    """Whether a row is in a share of all: by its key alone, the SHA-256 of its address in hex, so always the same."""
    return int(source_key[:_KEY_DIGITS], 16) < share * _KEYS
