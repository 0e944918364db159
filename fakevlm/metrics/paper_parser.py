"""The verdicts that FakeVLM's own evaluation reads from answers, and where ours differ from them.

Only for comparing with published accuracies: written from a description of upstream's rule, not from its code.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fakevlm.verdict import Verdict, parse_answer, verdict_words


class Reason(StrEnum):
    """Why upstream reads another verdict. The first that applies."""

    EMPTY = "empty"
    """There is no answer: upstream tosses a coin."""
    PART_OF_WORD = "part of a word"
    """Upstream took `real` or `fake` from within a word such as unreal, realistic, real-time or faked."""
    BOTH_WORDS = "both words"
    """The sentence that decides for upstream holds both words; there `real` wins."""
    DENIED = "denied"
    """It denies the word it holds: `not a real image`."""
    LATER_SENTENCE = "later sentence"
    """Both words are missing from the two sentences that upstream reads, not from those after them."""
    OTHER = "other"
    """Neither word is anywhere, or sentences end elsewhere."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One answer that is read in two ways."""

    index: int
    """Position of the text, from 0."""
    text: str
    ours: Verdict
    upstream: Verdict | None
    """None where upstream tosses a coin, which is a disagreement even with `uncertain`: a coin says real or fake."""
    reason: Reason


def upstream_verdict(text: str) -> Verdict | None:
    """`real` or `fake` as upstream's evaluation counts the answer, None where it tosses a coin.

    The first sentence decides, or the second where the first holds neither word: real if the letters `real` occur
    anywhere in it, `unreal` and `realistic` included, else fake if `fake` does. Two things are assumed: sentences are
    the pieces between full stops, so that `1.5` ends one and `!` does not, and case makes no difference.
    """
    verdict, _ = _read(text)
    return verdict


def disagreements(texts: Iterable[str]) -> list[Disagreement]:
    """The answers to which `parse_answer` and upstream's evaluation give different verdicts, in their order."""
    differing = []
    for index, text in enumerate(texts):
        ours = parse_answer(text)
        upstream, sentence = _read(text)
        if ours is not upstream:
            differing.append(Disagreement(index, text, ours, upstream, _reason(text, upstream, sentence)))
    return differing


def _read(text: str) -> tuple[Verdict | None, str]:
    """Upstream's verdict and the sentence it comes from, None and nothing for a coin."""
    for sentence in text.split(".")[:2]:
        for verdict in (Verdict.REAL, Verdict.FAKE):
            if verdict in sentence.lower():
                return verdict, sentence
    return None, ""


def _reason(text: str, upstream: Verdict | None, sentence: str) -> Reason:
    if not text.strip():
        return Reason.EMPTY
    if upstream is None:
        return Reason.LATER_SENTENCE if verdict_words(text) else Reason.OTHER
    words = verdict_words(sentence)
    if upstream not in words:
        return Reason.PART_OF_WORD
    if len(words) == 2:
        return Reason.BOTH_WORDS
    # With one of the words in it, nothing but a denial makes a sentence uncertain.
    return Reason.DENIED if parse_answer(sentence) is Verdict.UNCERTAIN else Reason.OTHER
