"""An answer as FakeClue words it: the verdict first."""

from fakevlm.data.record import FAKE
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import Verdict, parse_answer


def worded(label: object, text: str) -> str:
    """The answer with `This is a fake image.` before it where it does not begin so.

    A text that says the opposite of the label is left for the checks.
    """
    text = text.strip()
    contrary = Verdict.REAL if label == FAKE else Verdict.FAKE
    if parse_answer(text) is contrary:
        return text
    opening = f"This is a {verdict_word(label)}"
    written = f"{opening}{text[len(opening) :]}" if text.lower().startswith(opening.lower()) else text
    if PromptSpec().opening_fault(written, label == FAKE) is None:
        return written
    verdict = verdict_sentence(label)
    return verdict if text.lower().rstrip(".") in ("", verdict_word(label)) else f"{verdict} {text}"


def verdict_word(label: object) -> str:
    """The word for a label."""
    return "fake" if label == FAKE else "real"


def verdict_sentence(label: object) -> str:
    """The answer that says the label and gives no reason."""
    return f"This is a {verdict_word(label)} image."
