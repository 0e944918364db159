"""What is known of a detector's errors from images that were labelled before: from an evaluation, or as counts."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fakescan.run.run_file import RunFile
from fakescan.storage.objects import read_bytes
from fakescan.storage.preflight import check_readable
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError
from fakevlm.metrics.prevalence import ErrorRates

_METRICS = "metrics.json"


class _Overall(BaseModel):
    """Counts by label and verdict, of an evaluation's metrics.json."""

    fake_as_fake: int
    fake_as_real: int
    fake_uncertain: int
    real_as_real: int
    real_as_fake: int
    real_uncertain: int


class _Metrics(BaseModel):
    """What is read of metrics.json."""

    model_config = ConfigDict(extra="ignore")

    weights_sha256: str
    temperature: float
    bias: float
    threshold: float
    overall: _Overall


def rates_of_evaluation(place: str, store: Store, run: RunFile) -> ErrorRates:
    """The error rates in the folder or metrics.json of an evaluation. Raises UserError for one of another detector."""
    check_readable(place, store)
    fs, path = store.filesystem(place)
    path = path if path.endswith(".json") else f"{path.rstrip('/')}/{_METRICS}"
    try:
        found = _Metrics.model_validate_json(read_bytes(fs, path))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"evaluation: {redact(place)} holds no {_METRICS}; name what `fakescan evaluate -o` wrote"
        ) from None
    except ValidationError:
        raise UserError(f"evaluation: {redact(place)} is no {_METRICS} of an evaluation") from None
    _refuse_other_detector(found, run)
    counts = found.overall
    return ErrorRates(
        fakes=counts.fake_as_fake + counts.fake_as_real + counts.fake_uncertain,
        found=counts.fake_as_fake,
        reals=counts.real_as_real + counts.real_as_fake + counts.real_uncertain,
        false_alarms=counts.real_as_fake,
    )


def _refuse_other_detector(found: _Metrics, run: RunFile) -> None:
    calibration = run.identity.ask.calibration
    pairs: dict[str, tuple[Any, Any]] = {
        "weights": (found.weights_sha256[:12], run.identity.weights_sha256[:12]),
        "temperature": (found.temperature, calibration.temperature),
        "bias": (found.bias, calibration.bias),
        "threshold": (found.threshold, calibration.threshold),
    }
    for name, (there, here) in pairs.items():
        if there != here:
            raise UserError(
                f"evaluation: it measured a detector with {name} {there}, and the run has {here}; evaluate with the "
                "run's own settings"
            )


def rates_of_counts(sensitivity: str, specificity: str) -> ErrorRates:
    """The error rates of `80/100` fakes found and `990/1000` real images passed. Raises UserError."""
    found, fakes = _counts("--sensitivity", sensitivity, "fakes found of all fakes, such as 80/100")
    passed, reals = _counts("--specificity", specificity, "real images passed of all real ones, such as 990/1000")
    return ErrorRates(fakes=fakes, found=found, reals=reals, false_alarms=reals - passed)


def _counts(flag: str, text: str, words: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,12})/(\d{1,12})", text)
    if match is None or not 0 <= int(match[1]) <= int(match[2]) or not int(match[2]):
        raise UserError(f"{flag}: {text!r} is not {words}")
    return int(match[1]), int(match[2])
