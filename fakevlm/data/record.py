"""One labelled image of a training or evaluation set, in the format in which FakeClue is published."""

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

CATEGORIES = ("animal", "human", "object", "scene", "satellite", "doc", "deepfake")
"""Subjects of FakeClue's images."""

FAKE, REAL = 0, 1
"""Values of `Record.label`; note that fake is 0."""

Severity = Literal["subtle", "visible", "strong"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""Hard to find; seen at once at 128 pixels when told where to look; obvious."""

_ADDED = ("source", "family", "severity")


class Turn(BaseModel):
    """One utterance of a conversation about an image."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)

    from_: Literal["human", "gpt"] = Field(validation_alias="from", serialization_alias="from")
    """Who speaks: `human` asks, `gpt` answers. The key in files is `from`."""
    value: str
    """What is said. `<image>` in a question stands for the image."""


class Record(BaseModel):
    """One labelled image. Fields that are not listed here are kept and written back as they came."""

    model_config = ConfigDict(frozen=True, extra="allow")

    image: str
    """Path of the image file, relative to the root of the dataset, with `/` between its parts."""
    label: Literal[0, 1]
    """1 real, 0 fake."""
    cate: str
    """What the image shows; in FakeClue one of CATEGORIES."""
    width: int | None = None
    """Pixels of the image file."""
    height: int | None = None
    """Pixels of the image file."""
    conversations: tuple[Turn, ...]
    """A question and its answer; possibly more such pairs."""
    source: str | None = None
    """Id of the photograph or video that the image was made from. Images of one source are never in two splits."""
    family: str | None = None
    """Which kind of artifact a forged image carries; None for a real one and where nobody knows."""
    severity: Severity | None = None
    """How easily the artifact is seen; None for a real image and where nobody knows."""

    @field_validator("label", mode="before")
    @classmethod
    def _no_truth_value(cls, label: object) -> object:
        if isinstance(label, bool):  # who writes true may mean fake
            raise ValueError("must be 1 (real) or 0 (fake), not true or false")
        return label

    @property
    def question(self) -> str:
        """The first question, with `<image>`; empty if there is none."""
        return next((turn.value for turn in self.conversations if turn.from_ == "human"), "")

    @property
    def answer(self) -> str:
        """The first answer; empty if there is none."""
        return next((turn.value for turn in self.conversations if turn.from_ == "gpt"), "")

    @property
    def is_fake(self) -> bool:
        """Whether the label says fake."""
        return self.label == FAKE

    def to_json(self) -> dict[str, Any]:
        """The record as a file has it: FakeClue's fields, and of the optional ones those that are set."""
        fields = self.model_dump(mode="json")
        return {name: value for name, value in fields.items() if value is not None or name not in _ADDED}
