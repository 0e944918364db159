"""How much the two classes count in a training, where their records are not alike many."""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from fakescan.settings.strict_model import StrictModel
from fakevlm.data.record import FAKE, REAL, Record
from fakevlm.errors import UserError

Balance = Literal["sampling", "weights"]


class ClassWeights(StrictModel):
    """How much each token of an answer counts in the loss, by the label of its record."""

    fake: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Weight of fake records."""
    real: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Weight of real records."""


class Classes(NamedTuple):
    """What the settings make of the records: how often each class is drawn, and how much it counts."""

    fakes: int
    """Records labelled fake, those that are left out included."""
    reals: int
    """Records labelled real, likewise."""
    labels: bytes | None
    """The label of each record, a byte each, where both classes are drawn equally often; else None."""
    weights: dict[int, float] | None
    """Weight of each label in the loss; None: all count alike."""

    @property
    def by_sampling(self) -> bool:
        """Whether both classes are drawn equally often."""
        return self.labels is not None

    def __str__(self) -> str:
        """In words, for people."""
        text = f"{self.fakes:,} fake and {self.reals:,} real records"
        if self.by_sampling:
            rare, common = sorted((self.fakes, self.reals))
            times, more = divmod(common, rare)
            shown = f"{times}" if not more else f"{times} or {times + 1}"
            text += f"; each epoch draws both {common:,} times, so that one of the rarer class is shown {shown} times"
        if self.weights is not None:
            text += f"; in the loss fake counts {self.weights[FAKE]:.4g} and real {self.weights[REAL]:.4g}"
        return text


def classes_of(records: Sequence[Record], balance: Balance | None, weights: ClassWeights | None) -> Classes:
    """What the settings make of these records. Raises UserError where there is only one class to balance.

    Records that are left out are counted as well: leaving one out changes nothing for the others.
    """
    labels = bytes(record.label for record in records)
    fakes, reals = labels.count(FAKE), labels.count(REAL)
    if balance is not None and not (fakes and reals):
        raise UserError(
            f"balance: every record is {'fake' if fakes else 'real'}, so there is nothing to balance; leave it out"
        )
    factors = None
    if balance == "weights":  # their mean over the records is 1, as scikit-learn's `balanced` has it
        factors = {FAKE: len(labels) / (2 * fakes), REAL: len(labels) / (2 * reals)}
    elif weights is not None:
        factors = {FAKE: weights.fake, REAL: weights.real}
    return Classes(fakes, reals, labels if balance == "sampling" else None, factors)
