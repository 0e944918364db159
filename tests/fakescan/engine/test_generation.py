"""Generation: what the engine loop does after each output, and the judgement it leads to."""

import math
from dataclasses import dataclass, field

import pytest

from fakescan.engine.contract import Judgement
from fakescan.engine.generation import Generation, Next
from fakescan.engine.judging_options import Explain, JudgingOptions
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import Calibration

pytestmark = pytest.mark.unit

FAKE, REAL, OTHER = 7, 8, 9


@dataclass
class Logprob:
    logprob: float


@dataclass
class Output:
    """One output of the engine, in vLLM's DELTA form."""

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Logprob]] | None = None
    finish_reason: str | None = None


def first(p_fake: float, *, token: int | None = None, finish: str | None = None, other: float = 0.0) -> Output:
    """Token one of an answer whose model gives `fake` this probability, `real` what is left of `1 - other`."""
    p_real = 1.0 - p_fake - other
    chosen = token if token is not None else (FAKE if p_fake >= p_real else REAL)
    word = {FAKE: " fake", REAL: " real"}.get(chosen, " blue")
    logprobs = {chosen: Logprob(-0.1), FAKE: Logprob(math.log(p_fake)), REAL: Logprob(math.log(p_real))}
    return Output(word, [chosen], [logprobs], finish)


def more(text: str, finish: str | None = None) -> Output:
    return Output(text, [OTHER], [{OTHER: Logprob(-0.2)}], finish)


def answer(explain: Explain = "fakes", prompt: PromptSpec | None = None, **calibration: float) -> Generation:
    return Generation(
        JudgingOptions(explain=explain, calibration=Calibration(**calibration)), prompt or PromptSpec(), FAKE, REAL
    )


def assert_logprobs(judgement: Judgement, p_fake: float, p_real: float) -> None:
    assert judgement.error is None
    assert judgement.logprob_fake == pytest.approx(math.log(p_fake))
    assert judgement.logprob_real == pytest.approx(math.log(p_real))


@pytest.mark.parametrize(
    ("explain", "p_fake", "explained"),
    [
        ("fakes", 0.9, True),
        ("fakes", 0.1, False),
        ("all", 0.9, True),
        ("all", 0.1, True),
        ("none", 0.9, False),
        ("none", 0.1, False),
    ],
)
def test_only_what_was_asked_for_is_explained(explain: Explain, p_fake: float, explained: bool) -> None:
    one = answer(explain)
    step = one.take(first(p_fake, other=0.05))
    assert step is (Next.MORE if explained else Next.STOP)
    if explained:
        assert one.take(more(" image.")) is Next.MORE
        assert one.take(more(" The hands melt.", "stop")) is Next.DONE
    judgement = one.judgement()
    assert_logprobs(judgement, p_fake, 0.95 - p_fake)
    word = "fake" if p_fake > 0.5 else "real"
    assert judgement.explanation == (f"This is a {word} image. The hands melt." if explained else None)


def test_an_explanation_that_is_not_wanted_and_has_ended_by_itself_needs_no_abort() -> None:
    one = answer("none")
    assert one.take(first(0.9, finish="length")) is Next.DONE
    assert one.judgement().explanation is None


def test_an_explanation_of_one_token_is_done_at_once() -> None:
    one = answer("all")
    assert one.take(first(0.9, finish="length")) is Next.DONE
    assert one.judgement().explanation == "This is a fake"


@pytest.mark.parametrize(
    ("p_fake", "calibration", "word"),
    [
        (0.3, {"threshold": 0.2}, "real"),
        (0.7, {"threshold": 0.8}, "fake"),
        (0.6, {"temperature": 2.0, "bias": -1.0}, "fake"),
    ],
    ids=["a low threshold", "a high threshold", "another calibration"],
)
def test_the_words_are_the_models_own_whatever_the_verdict_is(
    p_fake: float, calibration: dict[str, float], word: str
) -> None:
    """The verdict is the other one each time; the model says what it would have said, and is asked once."""
    one = answer("all", **calibration)
    assert one.take(first(p_fake)) is Next.MORE
    assert one.take(more(" image.")) is Next.MORE
    assert one.take(more(" Look at the sky.", "stop")) is Next.DONE
    judgement = one.judgement()
    assert_logprobs(judgement, p_fake, 1.0 - p_fake)
    assert judgement.explanation == f"This is a {word} image. Look at the sky."


def test_whether_there_is_an_explanation_is_up_to_the_verdict() -> None:
    quiet = answer("fakes", threshold=0.8)
    assert quiet.take(first(0.7)) is Next.STOP
    assert quiet.judgement().explanation is None
    assert answer("fakes", threshold=0.2).take(first(0.3)) is Next.MORE


def test_a_model_that_says_something_else_is_heard_with_that() -> None:
    """The likeliest token is neither word: the score is there, and no verdict is put into the model's mouth."""
    one = answer("all")
    assert one.take(first(0.2, token=OTHER, other=0.7)) is Next.MORE
    assert one.take(more(" sky.", "stop")) is Next.DONE
    assert one.judgement().explanation == "This is a blue sky."


def test_an_uncertain_verdict_is_explained_as_the_model_puts_it_and_only_if_all_are() -> None:
    band = {"uncertain_low": 0.4, "uncertain_high": 0.6}
    assert answer("fakes", **band).take(first(0.55)) is Next.STOP
    one = answer("all", **band)
    assert one.take(first(0.55)) is Next.MORE
    assert one.take(more(" image.", "stop")) is Next.DONE
    assert one.judgement().explanation == "This is a fake image."


def test_the_words_of_the_prompt_open_the_explanation() -> None:
    prompt = PromptSpec(answer_prefix="I see a", fake_word="synthetic", real_word="genuine")
    one = answer("all", prompt, threshold=0.2)
    begun = first(0.3)
    begun.text = " genuine"
    assert one.take(begun) is Next.MORE
    assert one.take(more(" image", "stop")) is Next.DONE
    assert one.judgement().explanation == "I see a genuine image"


@pytest.mark.parametrize(("delta", "text"), [("fake", "This is a fake."), (" fake", "This is a fake.")])
def test_the_first_word_has_one_space_before_it(delta: str, text: str) -> None:
    """Some tokenizers give a word's space with it, others leave it to the text around."""
    one = answer("all")
    begun = first(0.9)
    begun.text = delta
    one.take(begun)
    one.take(more(".", "stop"))
    assert one.judgement().explanation == text


def test_outputs_without_a_token_are_waited_over() -> None:
    one = answer("none")
    assert one.take(Output()) is Next.MORE
    assert one.take(first(0.9)) is Next.STOP
    assert_logprobs(one.judgement(), 0.9, 0.1)


def test_an_engine_error_is_the_judgement_whenever_it_comes() -> None:
    early, late = answer("all"), answer("all")
    assert early.take(Output(finish_reason="error")) is Next.DONE
    assert late.take(first(0.9)) is Next.MORE
    assert late.take(Output(finish_reason="error")) is Next.DONE
    for one in (early, late):
        judgement = one.judgement()
        assert judgement.error is not None
        assert "engine" in judgement.error
        assert judgement.explanation is None
        assert math.isnan(judgement.logprob_fake)


@pytest.mark.parametrize("finish", [None, "stop"])
def test_an_answer_without_logprobs_is_an_error(finish: str | None) -> None:
    one = answer("all")
    assert one.take(Output(" fake", [FAKE], None, finish)) is (Next.STOP if finish is None else Next.DONE)
    assert "log-probabilities" in (one.judgement().error or "")


def test_an_answer_that_ends_before_its_first_token_is_an_error() -> None:
    one = answer("all")
    assert one.take(Output(finish_reason="abort")) is Next.DONE
    assert one.judgement().error is not None


@pytest.mark.parametrize("which", [FAKE, REAL])
def test_a_logprob_that_is_not_a_number_is_an_error_and_not_a_score(which: int) -> None:
    one = answer("all")
    output = first(0.9)
    assert output.logprobs is not None
    output.logprobs[0][which] = Logprob(float("nan"))
    assert one.take(output) is Next.STOP
    assert "no score" in (one.judgement().error or "")


def test_two_impossible_words_are_an_error_of_this_image_and_not_of_the_engine() -> None:
    one = answer("all")
    output = first(0.9)
    assert output.logprobs is not None
    output.logprobs[0] |= {FAKE: Logprob(float("-inf")), REAL: Logprob(float("-inf"))}
    assert one.take(output) is Next.STOP
    assert one.judgement().error is not None


def test_tokens_that_arrive_together_are_read_one_by_one() -> None:
    """An engine in another process hands over what has gathered since the last look."""
    one = answer("all")
    begin, end = first(0.9), more(" image.", "stop")
    assert begin.logprobs is not None
    assert end.logprobs is not None
    together = Output(
        begin.text + end.text, [*begin.token_ids, *end.token_ids], [*begin.logprobs, *end.logprobs], end.finish_reason
    )
    assert one.take(together) is Next.DONE
    assert one.judgement() == Judgement(
        pytest.approx(math.log(0.9)), pytest.approx(math.log(0.1)), "This is a fake image."
    )


def test_one_impossible_word_is_a_sure_verdict() -> None:
    one = answer("none")
    output = first(0.9)
    assert output.logprobs is not None
    output.logprobs[0] |= {FAKE: Logprob(float("-inf")), REAL: Logprob(-0.1)}
    assert one.take(output) is Next.STOP
    assert one.judgement() == Judgement(float("-inf"), -0.1, None)
