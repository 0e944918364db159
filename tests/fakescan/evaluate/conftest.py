"""Results of a scan of labelled images, made without a scan."""

from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest

from fakescan.engine.judging_options import JudgingOptions
from fakescan.evaluate.benchmark import LabelledImage
from fakescan.evaluate.judged import COLUMNS, JudgedImages
from fakescan.run.run_file import RunFile, new_run
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import Calibration, decide
from tests.fakescan.run.conftest import identity

MakeJudged = Callable[..., JudgedImages]


def labelled(uri: str, is_fake: bool, *, category: str = "", generator: str = "", reference: str = "") -> LabelledImage:
    return LabelledImage(uri, is_fake, category, generator, uri, (reference,) if reference else ())


def run_of(calibration: Calibration) -> RunFile:
    of = identity().model_copy(
        update={"ask": JudgingOptions(explain="all", calibration=calibration), "prompt": PromptSpec()}
    )
    return new_run(of, "m", None, fingerprint="", rows=1, population=1, shard_rows=1)


@pytest.fixture
def make_judged() -> MakeJudged:
    """From images and their scores, to what a scan of them gives."""

    def make(
        images: Sequence[LabelledImage],
        scores: Sequence[float],
        *,
        explanations: Sequence[str] | None = None,
        errors: dict[str, int] | None = None,
        calibration: Calibration | None = None,
    ) -> JudgedImages:
        calibration = calibration or Calibration()
        rows = {
            "row_id": list(range(len(images))),
            "uri": [image.uri for image in images],
            "width": [64] * len(images),
            "height": [48] * len(images),
            "format": ["PNG"] * len(images),
            "verdict": [decide(score, calibration).value for score in scores],
            "score": pa.array(scores, pa.float32()),
            "logit": pa.array([10 * score - 5 for score in scores], pa.float32()),
            "explanation": pa.array(explanations or [None] * len(images), pa.string()),
            "error_code": pa.nulls(len(images), pa.string()),
        }
        return JudgedImages(run_of(calibration), tuple(images), pa.table(rows).select(COLUMNS), errors or {})

    return make
