"""The fake engine: deterministic judgements at the pace of a simulated device."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fakescan.engine.config import SimulatedConfig
from fakescan.engine.contract import EngineDiedError, Judgement
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.simulated import SimulatedEngine
from fakevlm.verdict import Calibration, Verdict, decide, score_tokens

pytestmark = pytest.mark.unit


def images(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 84, 84, 3), dtype=np.uint8))


def verdict(judgement: Judgement, calibration: Calibration) -> Verdict:
    score = score_tokens(judgement.logprob_fake, judgement.logprob_real, calibration).score
    return decide(score, calibration)


def test_the_same_pixels_get_the_same_judgement_and_others_another() -> None:
    pixels = images(200)
    one, two = (SimulatedEngine(SimulatedConfig(), JudgingOptions()).judge(pixels) for _ in range(2))
    assert one == two
    logits = [judgement.logprob_fake - judgement.logprob_real for judgement in one]
    assert len(set(logits)) > 190
    assert min(logits) < -3 < 3 < max(logits)
    assert all(np.exp(j.logprob_fake) + np.exp(j.logprob_real) == pytest.approx(1.0) for j in one)


@pytest.mark.parametrize("explain", ["fakes", "all", "none"])
@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_explanations_come_as_asked_and_in_words_of_its_own(explain: str, threshold: float) -> None:
    calibration = Calibration(threshold=threshold)
    options = JudgingOptions.model_validate({"explain": explain, "calibration": calibration})
    judgements = SimulatedEngine(SimulatedConfig(), options).judge(images(100))
    verdicts = [verdict(judgement, calibration) for judgement in judgements]
    assert set(verdicts) == {Verdict.FAKE, Verdict.REAL}
    for judgement, said in zip(judgements, verdicts, strict=True):
        wanted = explain == "all" or (explain == "fakes" and said is Verdict.FAKE)
        assert (judgement.explanation is not None) == wanted
        if judgement.explanation is not None:
            own = "fake" if judgement.logprob_fake > judgement.logprob_real else "real"
            assert judgement.explanation.startswith(f"This is a {own} image.")


def test_a_simulated_device_keeps_its_pace_and_its_callers_keep_their_order() -> None:
    """64 images in batches of 8, one step of 20 ms each: 8 steps, whatever the number of callers."""
    engine = SimulatedEngine(SimulatedConfig(max_num_seqs=8, step_s=0.02), JudgingOptions(explain="none"))
    batches = [images(16, seed) for seed in range(4)]
    expected = [SimulatedEngine(SimulatedConfig(), JudgingOptions(explain="none")).judge(batch) for batch in batches]
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(engine.judge, batches))
    seconds = time.monotonic() - started
    engine.close()
    assert found == expected
    assert seconds >= 0.15
    assert engine.stats.running == 64
    assert 8 <= engine.stats.steps <= 10
    assert engine.stats.busy_s == pytest.approx(0.02 * engine.stats.steps)
    assert engine.stats.full_steps >= 5


def test_an_explanation_takes_its_steps() -> None:
    pixels = images(4)
    plain = SimulatedEngine(SimulatedConfig(max_num_seqs=4, step_s=0.001, tokens=9), JudgingOptions(explain="none"))
    wordy = SimulatedEngine(SimulatedConfig(max_num_seqs=4, step_s=0.001, tokens=9), JudgingOptions(explain="all"))
    plain.judge(pixels)
    wordy.judge(pixels)
    plain.close()
    wordy.close()
    assert plain.stats.running == 4
    assert wordy.stats.running == 40


def test_close_ends_the_thread() -> None:
    before = set(threading.enumerate())
    engine = SimulatedEngine(SimulatedConfig(step_s=0.001), JudgingOptions())
    threads = set(threading.enumerate()) - before
    engine.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_the_poison_colour_kills_the_process() -> None:
    code = """
import numpy as np
from fakescan.engine.contract import JudgingOptions
from fakescan.engine.config import SimulatedConfig
from fakescan.engine.simulated import SimulatedEngine
engine = SimulatedEngine(SimulatedConfig(die_on_rgb=(255, 0, 255)), JudgingOptions())
image = np.zeros((84, 84, 3), np.uint8)
engine.judge([image])
print("harmless", flush=True)
image[0, 0] = 255, 0, 255
engine.judge([image])
print("survived", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "harmless\n"
    assert done.returncode == -9


def test_an_explanation_can_be_watched_and_cancelled() -> None:
    engine = SimulatedEngine(SimulatedConfig(max_num_seqs=2, step_s=0.001, tokens=5), JudgingOptions())
    heard: list[Judgement] = []
    pixels = images(9)
    whole = engine.submit(pixels[0], JudgingOptions(explain="all"), heard.append).result()
    assert [judgement.explanation is None for judgement in heard] == [True, False, False, False, False]
    assert all(whole.explanation.startswith(judgement.explanation or "") for judgement in heard)
    futures = [engine.submit(image, JudgingOptions(explain="all")) for image in pixels]
    for future in futures[:8]:
        future.cancel()
    assert futures[8].result(timeout=10).error is None
    engine.close()


@pytest.mark.parametrize("step_s", [0.0, 0.001])
def test_one_that_hangs_is_dead_after_stall_s_and_takes_everything_in_it_along(step_s: float) -> None:
    engine = SimulatedEngine(SimulatedConfig(hang_on_rgb=(1, 2, 3), stall_s=0.2, step_s=step_s), JudgingOptions())
    image = np.zeros((84, 84, 3), np.uint8)
    assert engine.judge([image])[0].error is None
    hanging = image.copy()
    hanging[0, 0] = 1, 2, 3
    futures = [engine.submit(one) for one in (hanging, image)]
    for future in futures:
        with pytest.raises(EngineDiedError, match="no output"):
            future.result(20)
    assert "no output" in (engine.died or "")
    with pytest.raises(EngineDiedError):
        engine.judge([image])
    engine.close()


def test_a_refused_image_is_its_own_judgement() -> None:
    engine = SimulatedEngine(SimulatedConfig(fail_on_rgb=(1, 2, 3)), JudgingOptions())
    images = np.zeros((3, 84, 84, 3), np.uint8)
    images[1, 0, 0] = 1, 2, 3
    judged = engine.judge(list(images))
    assert [one.error is None for one in judged] == [True, False, True]
    assert "the engine refused the image" in (judged[1].error or "")
    assert engine.died is None


def test_as_many_engines_start_as_there_are_slots(tmp_path: Path) -> None:
    (tmp_path / "slot").touch()
    config = SimulatedConfig(start_slots=str(tmp_path))
    first = SimulatedEngine(config, JudgingOptions())
    with pytest.raises(RuntimeError, match="no free slot"):
        SimulatedEngine(config, JudgingOptions())
    first.close()
    SimulatedEngine(config, JudgingOptions()).close()
