"""vLLM in this process: transformers' scores, explanations as asked, several callers at once."""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fakescan.engine.config import VllmConfig
from fakescan.engine.contract import EngineDiedError, Judgement
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.vllm_inprocess import InProcessEngine
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration, Verdict, decide, parse_answer, score_tokens
from tests.fakescan.engine.conftest import ASK, Images
from tests.fakescan.engine.refusals import REFUSED_RGB, too_long

pytestmark = pytest.mark.engine


def score(judgement: Judgement) -> float:
    return score_tokens(judgement.logprob_fake, judgement.logprob_real, ASK.calibration).score


def assert_same(found: list[Judgement], expected: list[Judgement]) -> None:
    """Equal but for what the order of additions does to the last digits."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.error, one.explanation) == (None, other.explanation)
        assert score(one) == pytest.approx(score(other), abs=1e-3)


def test_the_scores_are_those_of_transformers(judged: list[Judgement], reference: list[tuple[float, float]]) -> None:
    assert [judgement.error for judgement in judged] == [None] * len(reference)
    for judgement, (logprob_fake, logprob_real) in zip(judged, reference, strict=True):
        assert judgement.logprob_fake == pytest.approx(logprob_fake, abs=1e-3)
        assert judgement.logprob_real == pytest.approx(logprob_real, abs=1e-3)
        assert score(judgement) == pytest.approx(score(Judgement(logprob_fake, logprob_real)), abs=1e-3)


def test_what_is_fake_is_explained_in_the_models_own_words(judged: list[Judgement]) -> None:
    """The threshold is 0.2: the model itself says real of what it scores from there to 0.5, and is not made to lie."""
    kinds = {"real": 0, "said fake": 0, "said real": 0}
    for judgement in judged:
        if decide(score(judgement), ASK.calibration) is Verdict.REAL:
            assert judgement.explanation is None
            kinds["real"] += 1
        else:
            own = "fake" if judgement.logprob_fake > judgement.logprob_real else "real"
            assert judgement.explanation is not None
            assert judgement.explanation.startswith(f"This is a {own} image")
            assert parse_answer(judgement.explanation) == own
            kinds[f"said {own}"] += 1
    assert min(kinds.values()) >= 3, f"the images do not show all three: {kinds}"


def test_an_explanation_has_no_more_tokens_than_asked(judged: list[Judgement]) -> None:
    lengths = {len(judgement.explanation.split()) for judgement in judged if judgement.explanation}
    assert len(lengths) > 1, "explanations of mixed length keep the engine busy with mixed batches"
    assert max(lengths) <= 3 + ASK.max_new_tokens


def test_callers_at_once_get_their_own_answers_in_order(
    vllm_engine: InProcessEngine, images: Images, judged: list[Judgement]
) -> None:
    batches = [range(start, 60, 5) for start in range(5)]
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda batch: vllm_engine.judge([images[index] for index in batch]), batches))
    for batch, answer in zip(batches, answers, strict=True):
        assert_same(answer, [judged[index] for index in batch])
    assert vllm_engine.stats.full_steps > 0, "16 places and 60 images: some had to wait"
    assert vllm_engine.stats.running > 0.8 * 16 * vllm_engine.stats.full_steps


def test_one_image_alone_and_none_at_all(vllm_engine: InProcessEngine, images: Images, judged: list[Judgement]) -> None:
    assert vllm_engine.judge([]) == []
    assert_same(vllm_engine.judge([images[7]]), [judged[7]])


def test_pixels_that_are_views_of_shared_memory_are_judged(
    vllm_engine: InProcessEngine, images: Images, judged: list[Judgement]
) -> None:
    """Ray hands out read-only arrays."""
    stack = np.stack(images[:3])
    stack.flags.writeable = False
    assert_same(vllm_engine.judge([stack[0], stack[2]]), [judged[0], judged[2]])


def test_an_image_may_be_asked_about_in_another_way_and_watched(
    vllm_engine: InProcessEngine, images: Images, judged: list[Judgement]
) -> None:
    heard: list[Judgement] = []
    whole = vllm_engine.submit(images[0], JudgingOptions(explain="all", max_new_tokens=20), heard.append).result()
    assert score(whole) == pytest.approx(score(judged[0]), abs=1e-3)
    assert whole.explanation is not None
    assert len(heard) > 2, "the score, and an explanation in pieces"
    texts = [judgement.explanation or "" for judgement in heard]
    assert texts == sorted(texts, key=len)
    assert all(whole.explanation.startswith(text) for text in texts)
    assert {judgement.logprob_fake for judgement in heard} == {whole.logprob_fake}
    assert vllm_engine.submit(images[0], JudgingOptions(explain="none")).result().explanation is None


def test_no_threshold_changes_a_word(vllm_engine: InProcessEngine, images: Images) -> None:
    """With a threshold that no score reaches everything is real; the words are those of the usual one."""
    strict = JudgingOptions(explain="all", calibration=Calibration(threshold=0.9999), max_new_tokens=12)
    usual = JudgingOptions(explain="all", max_new_tokens=12)
    for image in images[:8]:
        heard: list[Judgement] = []
        whole = vllm_engine.submit(image, strict, heard.append).result()
        assert whole.explanation == vllm_engine.submit(image, usual).result().explanation
        assert whole.explanation is not None
        assert all(whole.explanation.startswith(judgement.explanation or "") for judgement in heard)


def test_a_cancelled_image_gives_its_place_back(vllm_engine: InProcessEngine, images: Images) -> None:
    """More images than the engine has places, all cancelled: the next ones are judged all the same."""
    options = JudgingOptions(explain="all", max_new_tokens=40)
    for _ in range(4):
        futures = [vllm_engine.submit(image, options) for image in images[:30]]
        assert any([future.cancel() for future in futures])
    assert all(future.done() for future in futures)
    assert vllm_engine.judge(images[:1])[0].error is None


def test_an_idle_engine_waits_a_moment_for_images_that_are_expected(
    vllm_engine: InProcessEngine, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = JudgingOptions(explain="none")

    def steps(count: int) -> tuple[int, int]:
        before = vllm_engine.stats.steps, vllm_engine.stats.running
        for future in [vllm_engine.submit(image, options) for image in images[:count]]:
            assert future.result().error is None
        return vllm_engine.stats.steps - before[0], vllm_engine.stats.running - before[1]

    monkeypatch.setattr("fakescan.engine.vllm_inprocess._HOLD_S", 60.0)
    assert sum(steps(1)) == 2, "nothing is expected: one step with one image, at once"
    vllm_engine.expect(1)
    try:
        full, together = vllm_engine.max_num_seqs, []
        together.append(steps(full))
        monkeypatch.setattr("fakescan.engine.vllm_inprocess._HOLD_S", 1.0)
        together.append(steps(3))
    finally:
        vllm_engine.expect(-1)
    assert together == [(1, full), (1, 3)], "no longer than until the batch is full, or the time is over"


def test_nothing_is_explained_where_nobody_asks_and_nothing_answered_after_the_close(
    checkpoint: Checkpoint, images: Images, judged: list[Judgement]
) -> None:
    options = JudgingOptions(explain="none", calibration=ASK.calibration)
    engine = InProcessEngine(VllmConfig(max_num_seqs=4), checkpoint, options)
    answers = engine.judge(images[:20])
    engine.close()
    for answer, before in zip(answers, judged, strict=False):
        assert score(answer) == pytest.approx(score(before), abs=1e-3), "the score does not depend on what is explained"
        assert answer.explanation is None
    assert engine.stats.running == 20, "one step for each image"
    with pytest.raises(EngineDiedError):
        engine.judge(images[:1])


def test_everything_is_explained_where_somebody_asks(
    vllm_engine: InProcessEngine, images: Images, judged: list[Judgement]
) -> None:
    options = JudgingOptions(explain="all", calibration=ASK.calibration, max_new_tokens=3)
    answers = [future.result() for future in [vllm_engine.submit(image, options) for image in images[:20]]]
    for answer, before in zip(answers, judged, strict=False):
        assert score(answer) == pytest.approx(score(before), abs=1e-3)
        word = "fake" if answer.logprob_fake > answer.logprob_real else "real"
        assert answer.explanation is not None
        assert answer.explanation.startswith(f"This is a {word}")


def test_one_token_is_the_word_of_the_verdict(vllm_engine: InProcessEngine, images: Images) -> None:
    for image in images[:8]:
        heard: list[Judgement] = []
        answer = vllm_engine.submit(image, JudgingOptions(explain="all", max_new_tokens=1), heard.append).result()
        word = "fake" if answer.logprob_fake > answer.logprob_real else "real"
        assert answer.explanation == f"This is a {word}"
        assert answer.is_cut
        assert answer.completion_tokens == 1


def test_a_prompt_that_the_model_was_not_trained_with_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    assert_prompt_refused({"prompt_format": "chat"}, "'chat'", tiny_model, tmp_path)


def assert_prompt_refused(prompt: dict[str, str], words: str, tiny_model: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    card = json.loads((model / "fakevlm.json").read_text())
    (model / "fakevlm.json").write_text(json.dumps({**card, "prompt": prompt}))
    with pytest.raises(UserError, match="model: asked freely") as caught:
        InProcessEngine(VllmConfig(), open_checkpoint(str(model)), JudgingOptions())
    assert words in str(caught.value)
    assert "fakevlm.json" in str(caught.value)


def test_nan_in_the_weights_is_blamed_on_the_weights(tiny_model: Path, tmp_path: Path) -> None:
    assert_blamed_on_weights("lm_head", tiny_model, tmp_path)


def assert_blamed_on_weights(name: str, tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = shutil.copytree(tiny_model, tmp_path / "model")
    (file,) = model.glob("*.safetensors")
    tensors = load_file(file)
    damaged = next(tensor for key, tensor in tensors.items() if name in key and tensor.dim() > 1)
    damaged[...] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="weights are damaged") as caught:
        InProcessEngine(VllmConfig(), open_checkpoint(str(model)), JudgingOptions())
    assert "prompt_format" not in str(caught.value)


@pytest.mark.parametrize("times", [1, 2])
def test_a_request_that_vllm_refuses_costs_its_image_alone_and_only_after_a_second_attempt(
    vllm_engine: InProcessEngine, images: Images, judged: list[Judgement], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(vllm_engine._requests, "input", too_long(vllm_engine._requests.input, seen, times=times))
    strange = images[0].copy()
    strange[0, 0] = REFUSED_RGB
    found = vllm_engine.judge([images[1], strange, images[2]])
    assert_same([found[0], found[2]], judged[1:3])
    assert len(seen) >= 2
    if times == 1:
        assert found[1].error is None
    else:
        assert "the engine refused the image: VLLMValidationError: " in (found[1].error or "")
        assert "longer than the maximum model length" in (found[1].error or "")
    assert vllm_engine.died is None


def test_a_step_that_does_not_return_is_the_engines_death(
    checkpoint: Checkpoint, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = InProcessEngine(VllmConfig(max_num_seqs=4, stall_s=1.0), checkpoint, ASK)
    engine._watch._stall_s = 1.0  # on a busy machine the self-test takes a while, and the watch allows for that
    release = threading.Event()
    monkeypatch.setattr(engine._engine, "step", lambda: [release.wait(60)][:0])
    started = time.monotonic()
    with pytest.raises(EngineDiedError, match="stall_s"):
        engine.judge(images[:20])
    assert time.monotonic() - started < 30
    assert engine.died is not None
    with pytest.raises(EngineDiedError):
        engine.judge(images[:1])
    release.set()
    engine.close()
