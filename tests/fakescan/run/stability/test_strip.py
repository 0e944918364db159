"""Strip: which rows are looked at, what a look says, and the words for people."""

from typing import Any

import pytest

from fakescan.run.stability.columns import STRIP_NAMES, VARIANTS
from fakescan.run.stability.strip import DEFAULT_SHARE, Look, Strip, is_sampled, share_of
from fakevlm.preprocess import ImageSpec
from fakevlm.reading import Meaning, Reader
from fakevlm.verdict import Calibration, Verdict

pytestmark = pytest.mark.unit

BANDED = Calibration(temperature=2.0, bias=0.5, threshold=0.8, uncertain_low=0.4, uncertain_high=0.8)
IMAGE = ImageSpec(shortest_edge=84, crop=(84, 84))


PLAIN = Calibration()


def strip(stability: Any = "all", unstable: Any = "keep", calibration: Calibration = PLAIN) -> Strip:
    return Strip(stability, share_of(stability, 0.5), unstable, calibration)


def look(strip: Strip, *logits: float | None, note: str | None = None) -> Look:
    return Look(tuple(None if logit is None else strip.scored(logit) for logit in logits), note)


def test_flagged_is_by_the_calibrated_threshold() -> None:
    flagged = strip("flagged", calibration=BANDED)
    assert not flagged.looks("", 1.7)  # a score of 0.795
    assert flagged.looks("", 1.8)  # 0.802
    band = strip("flagged", calibration=Calibration(threshold=0.5, uncertain_low=0.4, uncertain_high=0.6))
    assert band.own_verdict(0.1) is Verdict.UNCERTAIN
    assert band.looks("", 0.1)  # its score reaches the threshold


def test_a_sample_is_by_the_key_alone() -> None:
    sample = strip("sample")
    low, high = "7" + "f" * 63, "8" + "0" * 63
    assert (sample.looks(low, -9.0), sample.looks(high, 9.0)) == (True, False)
    assert (sample.may_look(low), sample.may_look(high)) == (True, False)
    assert not strip("none").may_look(low)
    assert share_of("sample", None) == DEFAULT_SHARE
    assert share_of("all", None) is None


def test_shares_are_nested_and_as_large_as_they_say() -> None:
    keys = [f"{number:016x}" + "0" * 48 for number in range(0, 2**64, 2**64 // 1000)]
    assert sum(is_sampled(key, 0.25) for key in keys) == pytest.approx(250, abs=1)
    assert all(is_sampled(key, 0.5) for key in keys if is_sampled(key, 0.25))
    assert all(is_sampled(key, 1.0) for key in [*keys, "f" * 64])


@pytest.mark.parametrize(
    ("logits", "holds"),
    [
        ((1.0, 2.0, 0.1, 3.0, 1.0), True),
        ((1.0, 2.0, -0.1, 3.0, 1.0), False),
        ((1.0, None, 0.1, 3.0, 1.0), None),
        ((1.0, None, -0.1, 3.0, 1.0), False),
        ((None,) * 5, None),
    ],
)
def test_a_verdict_holds_if_every_variant_has_it(logits: tuple[float | None, ...], holds: bool | None) -> None:
    one = look(strip(), *logits)
    assert one.holds(Verdict.FAKE) is holds
    assert strip().verdict(Verdict.FAKE, holds) is Verdict.FAKE
    became = Verdict.UNCERTAIN if holds is False else Verdict.FAKE
    assert strip(unstable="uncertain").verdict(Verdict.FAKE, holds) is became


def test_a_step_into_the_uncertain_band_is_another_verdict() -> None:
    banded = strip(calibration=BANDED)
    assert look(banded, 2.0, 2.0, 2.0, 2.0, 1.0).holds(Verdict.FAKE) is False


def test_a_row_gives_back_its_look() -> None:
    one = look(strip(), 1.0, None, -0.5, 3.0, 1.0, note="half: why")
    row = one.columns(Verdict.FAKE)
    assert row.keys() == set(STRIP_NAMES)
    assert strip().read_look(row) == one
    assert strip().read_look(dict.fromkeys(STRIP_NAMES)) is None
    assert strip().read_look({**dict.fromkeys(STRIP_NAMES), "strip_note": "why"}) == Look((None,) * 5, "why")


def remark(one: Look, strip: Strip, logit: float, meaning: Meaning = Meaning.FULL) -> str | None:
    own, score = strip.own_verdict(logit), strip.scored(logit).score
    reading = Reader(meaning, strip.calibration, IMAGE).read(
        verdict=own, score=score, logit=logit, off_script=0.0, width=40, height=30
    )
    return strip.remark(reading, one, own=own, score=score, meaning=meaning)


def test_what_stands_beside_a_verdict_that_does_not_hold() -> None:
    kept, turned = strip(), strip(unstable="uncertain")
    logits = (2.0, -0.85, 2.0, -2.0, 2.0)
    words = "The verdict does not hold: fake (0.88) as it is, real (0.30) at half its size and real (0.12) mirrored"
    assert remark(look(kept, *logits), kept, 2.0) == f"{words}."
    assert remark(look(turned, *logits), turned, 2.0) == f"{words}; so it counts as uncertain."
    assert remark(look(kept, 2.0, 2.0, 2.0, 2.0, 1.0), kept, 2.0) is None
    assert remark(look(kept, *logits), kept, 2.0, Meaning.NONE) == (
        "This verdict means nothing: no trained model gave it."
    )


def test_no_forgery_found_is_not_said_of_what_became_uncertain() -> None:
    kept, turned = strip(), strip(unstable="uncertain")
    logits = (-2.0, -2.0, 0.5, -2.0, -2.0)
    words = (
        "The verdict does not hold: no forgery found (0.12) as it is, fake (0.62) at 512 pixels as a JPEG of quality 40"
    )
    found = remark(look(kept, *logits), kept, -2.0, Meaning.FORGERIES)
    assert found is not None
    assert found.startswith("No forgery found, which does not make the image real")
    assert found.endswith(f" {words}.")
    assert remark(look(turned, *logits), turned, -2.0, Meaning.FORGERIES) == f"{words}; so it counts as uncertain."


def test_every_variant_has_its_words() -> None:
    assert len({variant.words for variant in VARIANTS}) == len({variant.condition for variant in VARIANTS}) == 5
