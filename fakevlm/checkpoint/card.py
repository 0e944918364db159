"""The card of a checkpoint, `fakevlm.json` beside its weights: prompt, calibration, and what people must know of it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fakevlm.checkpoint.config_files import read_json
from fakevlm.errors import UserError
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import Calibration

CARD = "fakevlm.json"
"""Its file name."""


class Card(BaseModel):
    """What the card says. A folder without one holds the released FakeVLM: all defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: PromptSpec = PromptSpec()
    """The prompt the model was trained with."""
    calibration: Calibration = Calibration()
    """How its logits become scores."""
    trained: bool = True
    """False for a stand-in whose verdicts mean nothing."""
    knows_generators: bool = True
    """False for a model that has learnt no generated images: a low score says only that it found no forgery."""
    notice: str = ""
    """What whoever reads its verdicts must know; every scan says it."""
    description: str = ""
    """For people."""


def read_card(folder: Path) -> Card:
    """The card of the checkpoint in `folder`, all defaults when it has none. Raises UserError for a bad one."""
    file = folder / CARD
    if not file.exists():
        return Card()
    try:
        return Card.model_validate(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file}: {where}: {first['msg']}") from None


def write_card(folder: Path, card: Card) -> None:
    """Writes the card into the checkpoint's folder."""
    (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
