"""The place in a model card, the README.md of a checkpoint, that says how the model is calibrated."""

import re

from fakevlm.verdict import Calibration

MODEL_CARD = "README.md"
"""Its file name."""

_BEGIN, _END = "<!-- calibration -->", "<!-- end of calibration -->"
_PLACE = re.compile(f"{_BEGIN}.*?{_END}", re.DOTALL)


def calibration_lines(calibration: Calibration) -> str:
    """What a model card says of a calibration, between marks by which `with_calibration` finds it again."""
    if not calibration.is_fitted:
        text = "Not calibrated: a score is the model's own opinion. `fakescan calibrate` fits a threshold to it."
    else:
        text = (
            f"Calibrated: temperature {calibration.temperature:.4g}, bias {calibration.bias:.4g}, "
            f"threshold {calibration.threshold:.4g}"
        )
        if calibration.fitted_images is not None and calibration.prior is not None:
            text += f"; fitted to {calibration.fitted_images:,} images, of which {calibration.prior:.0%} were fake"
        text += "."
    return f"{_BEGIN}\n{text}\n{_END}"


def with_calibration(card: str, calibration: Calibration) -> str:
    """The model card with this calibration in place of what it said before; unchanged where it has no such place."""
    return _PLACE.sub(lambda _: calibration_lines(calibration), card, count=1)
