"""What the server says to people about its verdicts: the words beside each, and what they are worth altogether."""

from typing import Any

from fakescan.engine.config import EngineConfig
from fakescan.engine.judged_values import JudgedValues
from fakescan.engine.model import model_meaning
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.reading import Reader, score_meaning
from fakevlm.verdict import Calibration


class VerdictWords:
    """Makes the words for one model under the server's calibration, or a request's with another threshold."""

    def __init__(
        self, engine: EngineConfig, checkpoint: Checkpoint, calibration: Calibration, base_rate: float
    ) -> None:
        self.meaning = model_meaning(engine, checkpoint)
        self._checkpoint = checkpoint
        self._calibration = calibration
        self._base_rate = base_rate

    def about(self) -> dict[str, Any]:
        """What the verdicts are worth, as `GET /v1/about` says it."""
        return {
            "meaning": self.meaning,
            "calibrated": self._calibration.is_fitted,
            "base_rate": self._base_rate,
            "score_meaning": score_meaning(self._calibration, self.meaning),
        }

    def beside(self, values: JudgedValues, calibration: Calibration, width: int, height: int) -> dict[str, Any]:
        """The fields of a `Result` that say what its verdict may be called, and what belongs beside it.

        `calibration`: the one that the verdict was made with. `width` and `height`: of the image, as displayed.
        """
        own = calibration.threshold != self._calibration.threshold
        reader = Reader(self.meaning, calibration, self._checkpoint.image, has_own_threshold=own)
        reading = reader.read(
            verdict=values.verdict,
            score=values.score,
            logit=values.logit,
            off_script=values.off_script,
            width=width,
            height=height,
        )
        return {
            "finding": reading.finding,
            "leans": reading.leans,
            "remark": reading.remark,
            "remarks": list(reading.remarks),
            "how_sure": reader.how_sure(values.score, values.off_script, self._base_rate),
        }
