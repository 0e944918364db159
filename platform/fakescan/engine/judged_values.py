"""What a judgement says of an image in the results of every job."""

from typing import NamedTuple

from fakescan.engine.contract import Judgement
from fakevlm.verdict import Calibration, Verdict, decide, score_tokens


class JudgedValues(NamedTuple):
    """The columns of a result that come of a judgement without an error; docs/results.md says what each means."""

    verdict: Verdict
    score: float
    logit: float
    off_script: float
    explanation: str | None


def judged_values(judgement: Judgement, calibration: Calibration) -> JudgedValues:
    """The values of a judgement that has no error."""
    score = score_tokens(judgement.logprob_fake, judgement.logprob_real, calibration)
    verdict = decide(score.score, calibration)
    return JudgedValues(verdict, score.score, score.logit, score.off_script, judgement.explanation)
