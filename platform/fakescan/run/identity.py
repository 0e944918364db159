"""The identity of a run: everything that its rows depend on. A run is resumed only with the same one."""

from typing import Any, Literal

from pydantic import Field

from fakescan.engine.judging_options import JudgingOptions
from fakescan.run.stability.strip import Stability, Strip, Unstable
from fakescan.settings.strict_model import StrictModel
from fakevlm.preprocess import Decoding, ImageSpec
from fakevlm.prompt import PromptSpec

DECODED_FAST = (
    "decoded fast: large JPEG files at a reduced size, so that scores differ a little from those of an exact scan"
)
"""Beside the counts of a run whose images were decoded so."""


class Selection(StrictModel):
    """Which images of the source the run covers."""

    source: str
    """The source, without secrets."""
    globs: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    extensions: tuple[str, ...] | None = None
    limit: int | None = None
    sample: int | None = None
    new_since: str | tuple[str, ...] | None = None
    keep_columns: tuple[str, ...] = ()
    """Columns of the source that the results have as well."""

    @property
    def is_partial(self) -> bool:
        """Whether the run covers only a part of its source."""
        return self.limit is not None or self.sample is not None


class Identity(StrictModel):
    """Everything that the rows of a run depend on. Two scans with the same identity may share one run."""

    selection: Selection
    engine: Literal["vllm", "fake"]
    dtype: str | None
    """As the settings name it; `numbers` in run.json says what it has come to."""
    weights_sha256: str
    trained: bool
    prompt: PromptSpec
    image: ImageSpec
    ask: JudgingOptions
    """Called so in every run.json."""
    max_bytes: int
    max_pixels: int
    conditions: tuple[str, ...] = ("none",)
    """Distortions under which every image is judged, one after the other."""
    engine_arguments: dict[str, Any] = Field(default_factory=dict)
    """What the settings hand on to the engine."""
    provenance: bool | None = None
    """Whether the files are asked where they come from; None in a run from before there were columns for it."""
    trust_list: str | None = None
    """Hash of the trust list that signers were checked against. Of a scan that names none: None, which fits any."""
    listed_sha256: str | None = None
    """Hash of the URIs, where the scan's caller named the images."""
    stability: Stability = "none"
    """Which images are judged in variants as well."""
    stability_share: float | None = None
    """The share of a sample of them; None for anything else."""
    unstable: Unstable = "keep"
    """What becomes of a verdict that does not hold."""
    decode: Decoding = "exact"
    """How the images are decoded; in a run from before there was a choice, exactly."""

    def as_resumed(self, wanted: "Identity") -> "Identity":
        """`wanted` as it is for a run with this identity, which decides what a scan leaves open."""
        decided: dict[str, Any] = {}
        if self.provenance is None:
            decided = {"provenance": None, "trust_list": None}
        elif wanted.trust_list is None:
            decided = {"trust_list": self.trust_list}
        return wanted.model_copy(update=decided)

    @property
    def strip(self) -> Strip:
        """The run's stability strip."""
        return Strip(self.stability, self.stability_share, self.unstable, self.ask.calibration)
