"""Clues: each template names its own family and no other, says where and how strong, and stays short and plain."""

import re

import numpy as np
import pytest

from fakevlm.forge import FAMILIES, SEVERITIES, Box, fake_answer, family_of, place_of, real_answer, templates
from fakevlm.forge.sentences import DEGREES, FAKE, PLACES
from fakevlm.verdict import Verdict, parse_answer

pytestmark = pytest.mark.unit

BOXES = {
    "whole": Box(0, 0, 1, 1),
    "upper half": Box(0, 0.02, 1, 0.5),
    "lower half": Box(0.05, 0.45, 0.95, 1),
    "left half": Box(0, 0, 0.5, 0.95),
    "right half": Box(0.48, 0.05, 1, 1),
    "upper left": Box(0.02, 0.03, 0.3, 0.35),
    "top": Box(0.35, 0, 0.65, 0.3),
    "upper right": Box(0.6, 0.05, 0.95, 0.4),
    "left": Box(0, 0.35, 0.3, 0.65),
    "centre": Box(0.2, 0.2, 0.8, 0.8),
    "right": Box(0.7, 0.3, 1, 0.7),
    "lower left": Box(0, 0.5, 0.5, 1),
    "bottom": Box(0.3, 0.7, 0.7, 1),
    "lower right": Box(0.35, 0.4, 0.97, 0.98),
}


def answers(count: int = 4000) -> list[str]:
    rng = np.random.default_rng(0)
    boxes = list(BOXES.values())
    fakes = [
        fake_answer(family, severity, boxes[int(rng.integers(len(boxes)))], rng)
        for family in FAMILIES
        for severity in SEVERITIES
        for _ in range(count // (3 * len(FAMILIES)))
    ]
    return fakes + [real_answer(rng) for _ in range(200)]


def test_every_family_has_clues_and_every_clue_a_family() -> None:
    assert set(FAKE) == set(FAMILIES)
    for family in FAMILIES:
        assert len(set(templates(family))) >= 12
        assert all("{where}" in text.lower() and "{degree}" in text.lower() for text in templates(family))
    with pytest.raises(KeyError):
        templates("moiré")


def test_each_sentence_holds_keywords_of_its_own_family_only() -> None:
    for family, sentences in FAKE.items():
        for what in sentences.what:
            assert set(re.findall("[a-z]+", what.lower())) & set(sentences.keywords), what
        for text in (*sentences.what, *sentences.why):
            words = set(re.findall("[a-z]+", text.lower()))
            for other, theirs in FAKE.items():
                assert other == family or not words & set(theirs.keywords), (text, other)
    everywhere = " ".join(word for group in (DEGREES, PLACES) for phrases in group.values() for word in phrases)
    assert family_of(everywhere) is None


def test_an_explanation_is_traced_back_to_its_family() -> None:
    rng = np.random.default_rng(1)
    for family in FAMILIES:
        for text in templates(family):
            said = text.format(where="on the left", Where="On the left", degree="faint", Degree="Faint")
            assert family_of(said) == family
            assert family_of(f"This is a fake image. {said}") == family
    assert family_of("This is a fake image. Something is odd.") is None
    assert family_of("") is None
    for _ in range(100):
        assert family_of(real_answer(rng)) is None
    assert family_of("This is a real image. No checkerboard is there.") is None
    assert family_of("This is a fake image. A halo, and waxy plastic tiles.") == "smoothing"
    assert family_of("This is a fake image. Waxy with a halo.") == "smoothing"
    assert family_of("This is a fake image. A HALO, waxy.") == "halo"
    assert family_of("This is a fake image. Landscapes and halogen lights.") is None


def test_answers_are_short_plain_and_parsed_as_what_they_say() -> None:
    vocabulary = set()
    for text in answers():
        words = text.split()
        assert 12 <= len(words) <= 35, text
        assert re.fullmatch(r"[A-Za-z,.:; ]+", text), text
        assert all(sentence[:1].isupper() for sentence in re.split(r"[.] ", text))
        assert parse_answer(text) is (Verdict.REAL if text.startswith("This is a real image. ") else Verdict.FAKE)
        assert text.startswith(("This is a real image. ", "This is a fake image. "))
        assert len(re.findall(r"\b(?:real|fake)\b", text)) == 1
        assert not re.search(r"\ba [aeiou]", text.lower()), text
        vocabulary |= {word.strip(",.:;").lower() for word in words}
    assert len(vocabulary) < 700


def test_answers_vary_and_come_from_the_generator_alone() -> None:
    assert answers() == answers()
    assert len(set(answers())) > 2500
    rng = np.random.default_rng(3)
    assert len({real_answer(rng) for _ in range(400)}) >= 30


@pytest.mark.parametrize("place", BOXES)
def test_places(place: str) -> None:
    assert place_of(BOXES[place]) == place
    said = fake_answer("halo", "strong", BOXES[place], np.random.default_rng(5)).lower()
    assert any(phrase in said for phrase in PLACES[place])
    assert any(degree in said for degree in DEGREES["strong"])


def test_a_place_is_named_for_any_box() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(3000):
        x0, x1 = sorted(rng.random(2))
        y0, y1 = sorted(rng.random(2))
        seen.add(place_of(Box(x0, y0, x1, y1)))
    assert seen <= set(PLACES)
    assert len(seen) == len(PLACES)
