"""Explanations that are true by construction: written from what was done, and traced back to the family they name."""

import re
from itertools import product

import numpy as np

from fakevlm.data.record import Severity
from fakevlm.forge.forged import Box
from fakevlm.forge.sentences import DEGREES, FAKE, PLACES, REAL, Sentences
from fakevlm.verdict import Verdict, parse_answer

_WORD = re.compile(r"[a-z]+")
_FAMILY_OF_KEYWORD = {word: family for family, sentences in FAKE.items() for word in sentences.keywords}
_WHOLE, _HALF = 0.8, 0.62
"""Shares of the frame's side from which a box spans the side, or is one half of the frame beside it."""


def place_of(box: Box) -> str:
    """Which part of the frame a box takes, a key of PLACES: a ninth, a half, or the whole."""
    width, height = box.x1 - box.x0, box.y1 - box.y0
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    if width >= _WHOLE and height >= _WHOLE:
        return "whole"
    if width >= _WHOLE and height <= _HALF and abs(y - 0.5) > 0.1:
        return "upper half" if y < 0.5 else "lower half"
    if height >= _WHOLE and width <= _HALF and abs(x - 0.5) > 0.1:
        return "left half" if x < 0.5 else "right half"
    # A large box cannot have its middle in an outer third; what it leaves free says on which side it lies.
    column = _third(box.x0, box.x1)
    row = _third(box.y0, box.y1)
    names = (("upper left", "top", "upper right"), ("left", "centre", "right"), ("lower left", "bottom", "lower right"))
    return names[row][column]


def _third(start: float, end: float) -> int:
    """0, 1 or 2 for a stretch near the beginning, in the middle or near the end of a side of length 1."""
    before, after = start, 1 - end
    free = before + after
    if free < 0.2:
        return 1
    return min(2, int(3 * before / free))


def templates(family: str) -> tuple[str, ...]:
    """Every explanation of a family with its slots left open. Raises KeyError for an unknown family."""
    return _joined(FAKE[family])


def _joined(sentences: Sentences) -> tuple[str, ...]:
    return tuple(f"{what} {why}" for what, why in product(sentences.what, sentences.why))


def fake_answer(family: str, severity: Severity, box: Box, rng: np.random.Generator) -> str:
    """`This is a fake image.` and a clue: what, where, how strong, and why it betrays synthesis; 12 to 35 words."""
    where = _one(PLACES[place_of(box)], rng)
    degree = _one(DEGREES[severity], rng)
    clue = _one(templates(family), rng).format(
        where=where, Where=where.capitalize(), degree=degree, Degree=degree.capitalize()
    )
    return f"This is a fake image. {clue}"


def real_answer(rng: np.random.Generator) -> str:
    """`This is a real image.` and what is known of one in which nothing was forged; 12 to 35 words."""
    return f"This is a real image. {_one(_joined(REAL), rng)}"


def _one(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def family_of(text: str) -> str | None:
    """The artifact family that an explanation names; None when it names none, or says that the image is real.

    The family with the most different keywords wins; among equals the one that is named first.
    """
    if parse_answer(text) is Verdict.REAL:
        return None
    keywords: dict[str, set[str]] = {}
    for word in _WORD.findall(text.lower()):
        family = _FAMILY_OF_KEYWORD.get(word)
        if family is not None:
            keywords.setdefault(family, set()).add(word)
    return max(keywords, key=lambda family: len(keywords[family]), default=None)
