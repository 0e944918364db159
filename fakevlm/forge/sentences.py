"""The words of the clues, from `sentences.toml` beside this file, which says what holds for them."""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from fakevlm.data.record import Severity


class Sentences(BaseModel):
    """The sentences about one family."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keywords: tuple[str, ...] = ()
    """Whole words in lower case that name this family and no other."""
    what: tuple[str, ...]
    why: tuple[str, ...]


class _Words(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fake: dict[str, Sentences]
    real: Sentences
    degrees: dict[Severity, tuple[str, ...]]
    places: dict[str, tuple[str, ...]]


_WORDS = _Words.model_validate(tomllib.loads(Path(__file__).with_name("sentences.toml").read_text(encoding="utf-8")))
FAKE, REAL = _WORDS.fake, _WORDS.real
DEGREES = _WORDS.degrees
"""Adjectives by severity."""
PLACES = _WORDS.places
"""Phrases for each place in the frame."""
