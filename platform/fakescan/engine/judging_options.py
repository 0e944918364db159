"""Options with which an engine judges: the calibration, with the user's threshold, and which images are explained."""

from typing import Literal

from pydantic import ValidationError

from fakescan.settings.strict_model import StrictModel
from fakescan.settings.yaml_file import first_mistake
from fakescan.storage.objects import read_bytes
from fakescan.storage.preflight import check_readable
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.checkpoint.card import CARD
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration, Verdict

Explain = Literal["fakes", "all", "none"]
"""Which images get an explanation: those judged fake, every one, or none."""


class JudgingOptions(StrictModel):
    """Options with which an engine judges every image."""

    explain: Explain = "fakes"
    """Which images get an explanation."""
    calibration: Calibration = Calibration()
    """Turns the logit into the score and the verdict that decides on an explanation."""
    max_new_tokens: int = 256
    """Longest explanation, in tokens."""

    def wants_explanation(self, verdict: Verdict) -> bool:
        """Whether an image with this verdict is to be explained."""
        return self.explain == "all" or (self.explain == "fakes" and verdict is Verdict.FAKE)


def chosen_calibration(checkpoint: Checkpoint, given: str | Calibration | None, store: Store) -> Calibration:
    """The calibration that is given, or in the file or at the URL that is given; else the checkpoint's own.

    Raises UserError for one that was fitted to another model.
    """
    if given is None:
        chosen, place = checkpoint.calibration, f"{redact(checkpoint.location)}/{CARD}"
    elif isinstance(given, Calibration):
        chosen, place = given, "it"
    else:
        chosen, place = read_calibration(given, store), redact(given)
    refuse_foreign(chosen, place, checkpoint.weights_sha256)
    return chosen


def refuse_foreign(calibration: Calibration, place: str, weights_sha256: str) -> None:
    """Raise UserError for a calibration, found at `place`, of other weights than those with this hash."""
    fitted = calibration.weights_sha256
    if fitted is not None and fitted != weights_sha256:
        raise UserError(
            f"calibration: {place} was fitted to another model (weights {fitted[:12]}…, this one has "
            f"{weights_sha256[:12]}…), whose logits are others; calibrate this one with fakescan calibrate"
        )


def read_calibration(given: str, store: Store) -> Calibration:
    """The calibration in a file or at a URL. Raises UserError."""
    try:
        check_readable(given, store)
        return Calibration.model_validate_json(read_bytes(*store.filesystem(given)))
    except UserError as error:
        raise UserError(f"calibration: {error}") from None
    except FileNotFoundError:
        raise UserError(f"calibration: there is no {redact(given)}") from None
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"calibration: cannot read {redact(given)}: {error.strerror or error}") from None
    except ValidationError as error:
        mistake = first_mistake(error, command="calibrate", model=Calibration)
        raise UserError(f"calibration: {redact(given)}: {mistake}") from None


def with_threshold(stored: Calibration, threshold: float | None) -> Calibration:
    """The stored calibration with the user's threshold; a band of uncertainty that it lies outside of goes.

    A band that ends at the stored threshold ends at the user's.
    """
    if threshold is None:
        return stored
    low, high = stored.uncertain_low, stored.uncertain_high
    if low is not None and high == stored.threshold and low < threshold:
        return stored.model_copy(update={"threshold": threshold, "uncertain_high": threshold})
    if low is not None and high is not None and low <= threshold <= high:
        return stored.model_copy(update={"threshold": threshold})
    return stored.model_copy(update={"threshold": threshold, "uncertain_low": None, "uncertain_high": None})
