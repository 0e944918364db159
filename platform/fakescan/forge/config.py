"""The settings of a forge, validated before anything is read."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from fakescan.settings.flag import Flag, FlagGroup
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.store import Store
from fakevlm.data.record import CATEGORIES
from fakevlm.forge import FAMILIES, MIN_EDGE, SEVERITIES, Severity

FORGE_VERSION = 1
"""Raised whenever the same settings and photographs give other images than before."""


class ForgeConfig(StrictModel):
    """One dataset: the photographs it is made of and how."""

    photographs: str
    """Folder or URL prefix of real photographs; its subfolders named after categories say what they show."""
    output: Annotated[str, Flag("URL", "-o/--output", group=FlagGroup.OUTPUT)]
    """Folder or URL prefix of the dataset; resumed if it holds one."""
    per_photo: Annotated[int, Field(ge=1), Flag("N", group=FlagGroup.ARTIFACTS)] = 4
    """Pairs of a real and a forged image from each photograph."""
    edge: Annotated[int, Field(ge=MIN_EDGE, le=4096), Flag("PIXELS", group=FlagGroup.ARTIFACTS)] = 336
    """Width and height of the images in pixels; smaller photographs are left out."""
    seed: Annotated[int, Field(ge=0), Flag("N", group=FlagGroup.ARTIFACTS)] = 0
    """Another seed gives other crops and artifacts."""
    families: Annotated[tuple[str, ...], Flag("NAME,…", group=FlagGroup.ARTIFACTS)] = tuple(FAMILIES)
    """Artifact families to use. Default: all that suit the category."""
    severities: Annotated[tuple[Severity, ...], Flag("NAME,…", "--severity", group=FlagGroup.ARTIFACTS)] = SEVERITIES
    """Severities to use, in equal shares: subtle, visible, strong. Default: all."""
    category: Annotated[str, Flag("NAME", group=FlagGroup.DATA)] = "scene"
    """Category of photographs outside folders named after one."""
    shares: Annotated[dict[str, float], Flag("NAME=SHARE,…", "--split-shares")] = Field({"train": 1.0})
    """Names of splits and their shares of the photographs; a region is never pasted from one split into another."""
    workers: Annotated[int | None, Field(ge=1), Flag("N", group=FlagGroup.ENGINES)] = None
    """Photographs at once. Default: as many as the cluster has CPUs."""
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    """Photographs with more pixels than this count as unreadable."""
    input_store: Store = Store()
    """Credentials and endpoint of the photographs."""
    output_store: Store = Store()
    """Credentials and endpoint of the dataset."""

    @field_validator("families")
    @classmethod
    def _known_families(cls, families: tuple[str, ...]) -> tuple[str, ...]:
        return _choose(families, tuple(FAMILIES))

    @field_validator("severities", mode="before")
    @classmethod
    def _known_severities(cls, severities: Any) -> tuple[str, ...]:
        return _choose(tuple(severities), SEVERITIES)

    @field_validator("category")
    @classmethod
    def _known_category(cls, category: str) -> str:
        return _choose((category,), CATEGORIES)[0]

    def identity(self) -> dict[str, Any]:
        """Everything that the dataset depends on beside the photographs, ready for JSON."""
        names = {"per_photo", "edge", "seed", "families", "severities", "category", "shares", "max_pixels"}
        return {**self.model_dump(mode="json", include=names), "forge_version": FORGE_VERSION}


def _choose(names: tuple[str, ...], choices: tuple[str, ...]) -> tuple[str, ...]:
    """The names in the order of the choices, each once. Raises ValueError for any other name, and for none at all."""
    for name in names:
        if name not in choices:
            raise ValueError(f"unknown: {name} (known: {', '.join(choices)})")
    if not names:
        raise ValueError(f"name at least one of {', '.join(choices)}")
    return tuple(name for name in choices if name in names)
