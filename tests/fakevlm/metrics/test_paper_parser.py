"""Upstream's reading of answers, and where it parts from ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakevlm.metrics.paper_parser import Disagreement, Reason, disagreements, upstream_verdict
from fakevlm.verdict import Verdict, parse_answer

pytestmark = pytest.mark.unit

REAL, FAKE, UNCERTAIN = Verdict.REAL, Verdict.FAKE, Verdict.UNCERTAIN


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("This is a real image. It looks fake at first.", REAL),
        ("This is a fake image. It only pretends to be real.", FAKE),
        ("This is a FAKE image", FAKE),
        ("This looks unreal.", REAL),
        ("Fake! Nothing about it is real.", REAL),  # ! ends no sentence there
        ("Six fingers. It is fake. It is real.", FAKE),
        ("Version 1.5 is real.", REAL),
        ("One. Two. It is fake.", None),
        ("I cannot tell.", None),
        ("...fake", None),
        (".fake", FAKE),
        ("", None),
    ],
)
def test_upstream_verdict(text: str, verdict: Verdict | None) -> None:
    assert upstream_verdict(text) is verdict


@pytest.mark.parametrize(
    ("text", "ours", "upstream", "reason"),
    [
        ("", UNCERTAIN, None, Reason.EMPTY),
        (" \n", UNCERTAIN, None, Reason.EMPTY),
        ("It is either real or fake.", UNCERTAIN, REAL, Reason.BOTH_WORDS),
        ("This is fake, not real.", UNCERTAIN, REAL, Reason.BOTH_WORDS),
        ("Fake! Nothing about it is real.", FAKE, REAL, Reason.BOTH_WORDS),
        ("This looks unreal.", UNCERTAIN, REAL, Reason.PART_OF_WORD),
        ("This is a fake image with realistic skin.", FAKE, REAL, Reason.PART_OF_WORD),
        ("A real-time render. This is a fake image.", FAKE, REAL, Reason.PART_OF_WORD),
        ("Not faked. It is real.", REAL, FAKE, Reason.PART_OF_WORD),
        ("This is not a real image.", UNCERTAIN, REAL, Reason.DENIED),
        ("Six fingers. It doesn't look fake.", UNCERTAIN, FAKE, Reason.DENIED),
        ("One. Two. This is a fake image.", FAKE, None, Reason.LATER_SENTENCE),
        ("One. Two. It is not real.", UNCERTAIN, None, Reason.LATER_SENTENCE),
        ("I cannot tell.", UNCERTAIN, None, Reason.OTHER),
        ("One. Two. Unreal.", UNCERTAIN, None, Reason.OTHER),
        ("It is real.Yet fake.", UNCERTAIN, REAL, Reason.OTHER),
    ],
)
def test_a_disagreement_and_its_reason(text: str, ours: Verdict, upstream: Verdict | None, reason: Reason) -> None:
    agreed = "This is a real image. Natural light."
    assert disagreements([agreed, text, agreed]) == [Disagreement(1, text, ours, upstream, reason)]


_PIECES = ["real", "fake", "unreal", "Realistic", "FAKE", "not", "a", "image", ".", "!", "\n", " ", ". ", "-", "'", "İ"]


@given(st.lists(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join) | st.text(), max_size=5))
def test_disagreements_are_all_and_only_the_texts_read_in_two_ways(texts: list[str]) -> None:
    found = disagreements(texts)
    assert [one.index for one in found] == [
        i for i, t in enumerate(texts) if parse_answer(t) is not upstream_verdict(t)
    ]
    for one in found:
        assert one.text == texts[one.index]
        assert (one.ours, one.upstream) == (parse_answer(one.text), upstream_verdict(one.text))
        assert one.upstream is not UNCERTAIN
        assert (one.reason is Reason.EMPTY) == (not one.text.strip())
        if one.reason is Reason.DENIED:
            assert one.ours is UNCERTAIN
        if one.reason is Reason.LATER_SENTENCE:
            assert one.upstream is None
        if one.ours is not UNCERTAIN and one.upstream is None:
            assert one.reason is Reason.LATER_SENTENCE
