"""What is forged, how much of it, and where to; validated before anything is read."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fakescan.storage.store import Store
from fakevlm.data.record import CATEGORIES
from fakevlm.forge import FAMILIES, MIN_EDGE, SEVERITIES, Severity

FORGE_VERSION = 1
"""Raised when the same settings and photographs give other images."""


class ForgeConfig(BaseModel):
    """One dataset: the photographs it is made of and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photographs: str
    """Folder or URL prefix of real photographs; its subfolders named after categories say what they show."""
    output: str
    """Folder or URL prefix of the dataset."""
    per_photo: Annotated[int, Field(ge=1)] = 4
    """Pairs of a real and a forged image from each photograph."""
    edge: Annotated[int, Field(ge=MIN_EDGE, le=4096)] = 336
    """Width and height of the images in pixels; smaller photographs are left out."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Another seed gives other crops and artifacts."""
    families: tuple[str, ...] = tuple(FAMILIES)
    """Artifact families to use, where they suit the category."""
    severities: tuple[Severity, ...] = SEVERITIES
    """Severities to use, in equal shares."""
    category: str = "scene"
    """Category of photographs outside subfolders named after one."""
    shares: dict[str, float] = {"train": 1.0}
    """Names of splits and their shares of the photographs; a region is never pasted from one split into another."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Photographs at once; default: as many as the cluster has CPUs."""
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    """Larger photographs count as unreadable."""
    input_store: Store = Store()
    output_store: Store = Store()

    @field_validator("families")
    @classmethod
    def _known_families(cls, families: tuple[str, ...]) -> tuple[str, ...]:
        return _chosen(families, tuple(FAMILIES))

    @field_validator("severities", mode="before")
    @classmethod
    def _known_severities(cls, severities: Any) -> tuple[str, ...]:
        return _chosen(tuple(severities), SEVERITIES)

    @field_validator("category")
    @classmethod
    def _known_category(cls, category: str) -> str:
        return _chosen((category,), CATEGORIES)[0]

    def identity(self) -> dict[str, Any]:
        """Everything that the dataset depends on beside the photographs, ready for JSON."""
        kept = {"per_photo", "edge", "seed", "families", "severities", "category", "shares", "max_pixels"}
        return {**self.model_dump(mode="json", include=kept), "forge_version": FORGE_VERSION}


def _chosen(given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """What is given, in the order of what is known, each once. Raises ValueError for anything else, and for nothing."""
    for name in given:
        if name not in known:
            raise ValueError(f"unknown: {name} (known: {', '.join(known)})")
    if not given:
        raise ValueError(f"name at least one of {', '.join(known)}")
    return tuple(name for name in known if name in given)
