"""Calibration: fitted on one part of the images, shown on another."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakescan.engine.judging_options import chosen_calibration
from fakescan.evaluate.benchmark import LabelledImage
from fakescan.evaluate.calibrate import (
    CalibrationOutcome,
    calibrate,
    check_enough,
    print_calibration,
    store_calibration,
)
from fakescan.evaluate.judged import JudgedImages
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.checkpoint.model_card import calibration_lines
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration
from tests.fakescan.evaluate.conftest import MakeJudged

pytestmark = pytest.mark.unit


def overconfident(make_judged: MakeJudged, count: int, *, copies: int = 1) -> JudgedImages:
    """Logits that are three times too large; `copies` images of each photograph."""
    draw = np.random.default_rng(0)
    truth = np.arange(count) % 2 == 0
    logit = draw.normal(np.where(truth, 1.0, -1.0), 1.0)  # log-odds 2 x: as good as the normals allow
    images = [
        LabelledImage(f"{number}.png", bool(fake), "", "", f"photograph {number // (2 * copies)}", ())
        for number, fake in enumerate(truth)
    ]
    judged = make_judged(images, [0.5] * count)
    rows = judged.rows.set_column(judged.rows.schema.get_field_index("logit"), "logit", [6.0 * logit])
    return JudgedImages(judged.run, judged.images, rows, {})


def test_calibration_makes_scores_honest_and_the_threshold_holds(make_judged: MakeJudged) -> None:
    found = calibrate([overconfident(make_judged, 12_000)], Calibration(), fpr=0.05, missed=0.05)
    assert found.calibration.temperature == pytest.approx(3.0, rel=0.1)
    assert found.before.ece_15 > 0.05
    assert found.after.ece_15 < 0.03
    assert found.after.brier < found.before.brier
    assert found.fpr.low <= 0.05 <= found.fpr.high
    low, high = found.calibration.uncertain_low, found.calibration.uncertain_high
    assert low is not None
    assert low < found.calibration.threshold == high
    assert sum(found.images.values()) == 12_000


def test_photographs_are_in_one_part_whatever_was_made_of_them(make_judged: MakeJudged) -> None:
    once = calibrate([overconfident(make_judged, 6_000, copies=5)], Calibration(), fpr=0.05, missed=0.05)
    twice = calibrate([overconfident(make_judged, 6_000, copies=5)] * 2, Calibration(), fpr=0.05, missed=0.05)
    assert all(count % 10 == 0 for count in once.images.values())
    assert twice.images == {**once.images, "fit": 2 * once.images["fit"]}, "a copy is no further image to count on"


@pytest.mark.parametrize(
    ("count", "fpr", "message"),
    [
        (8, 0.05, "^data: too few sources|^calibration: "),
        (300, 0.001, r"^fpr: 0\.001 takes at least 999 real images, got \d+$"),
    ],
)
def test_too_few_images(make_judged: MakeJudged, count: int, fpr: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        calibrate([overconfident(make_judged, count)], Calibration(), fpr=fpr, missed=0.05)


def test_what_is_printed_says_what_a_verdict_is_worth(
    make_judged: MakeJudged, capsys: pytest.CaptureFixture[str]
) -> None:
    found = calibrate([overconfident(make_judged, 6_000)], Calibration(), fpr=0.05, missed=0.05)
    print_calibration(CalibrationOutcome(found, "s3://bucket/out/calibration.json", None, {"not_found": 3}))
    out = capsys.readouterr().out
    assert "within what was asked" in out
    assert "--calibration s3://bucket/out/calibration.json" in out
    assert "warning: 3 images have no score and are left out: not_found 3" in out
    share = found.detected / found.fake
    low, high = (round(100 * share * 0.01 / (share * 0.01 + rate * 0.99)) for rate in (found.fpr.high, found.fpr.low))
    assert f"1.0% {low} to {high}" in " ".join(out.split())


def test_no_false_alarm_among_few_images_is_no_promise(
    make_judged: MakeJudged, capsys: pytest.CaptureFixture[str]
) -> None:
    found = calibrate([overconfident(make_judged, 6_000)], Calibration(), fpr=0.05, missed=0.05)
    print_calibration(CalibrationOutcome(replace(found, real=100, false_alarms=0), "out", None, {}))
    printed = " ".join(capsys.readouterr().out.split())
    worst = re.search(r"0\.1% (\d+) to 100", printed)
    assert worst
    assert int(worst[1]) < 10
    print_calibration(CalibrationOutcome(replace(found, false_alarms=0, detected=0), "out", None, {}))
    assert "nothing was flagged" in capsys.readouterr().out


def test_the_calibration_survives_its_file(make_judged: MakeJudged, tmp_path: Path) -> None:
    found = calibrate([overconfident(make_judged, 2_000)], Calibration(), fpr=0.05, missed=0.05)
    file = tmp_path / "calibration.json"
    file.write_text(found.calibration.model_dump_json())
    assert Calibration.model_validate(json.loads(file.read_text())) == found.calibration


def test_a_data_set_that_has_moved_is_divided_the_same(make_judged: MakeJudged) -> None:
    truth = np.arange(400) % 2 == 0
    scores = np.random.default_rng(0).uniform(size=400)

    def at(root: str) -> JudgedImages:
        images = [
            LabelledImage(f"{root}/{number}.png", bool(fake), "", "", f"{root}/{number}.png", (), f"{number}.png")
            for number, fake in enumerate(truth)
        ]
        return make_judged(images, [float(score) for score in scores + truth])

    here, there = ([at(root)] * 2 for root in ("/here", "s3://bucket/there"))
    options = {"fpr": 0.05, "missed": 0.05}
    one, other = (calibrate(judged, Calibration(), **options) for judged in (here, there))
    assert one == other


def test_a_calibration_names_its_weights_and_another_model_refuses_it(
    make_judged: MakeJudged, tiny_model: Path, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(str(tiny_model))
    found = calibrate([overconfident(make_judged, 2_000)], Calibration(), fpr=0.05, missed=0.05)
    named = found.of_weights(checkpoint.weights_sha256).calibration
    file = tmp_path / "calibration.json"
    file.write_text(named.model_dump_json())
    assert chosen_calibration(checkpoint, str(file), Store()) == named
    other = replace(checkpoint, weights_sha256="f" * 64)
    for given in (str(file), named):
        with pytest.raises(UserError, match=r"^calibration: .* was fitted to another model \(weights .*calibrate this"):
            chosen_calibration(other, given, Store())
    with pytest.raises(UserError, match=r"^calibration: .*fakevlm\.json was fitted to another model"):
        chosen_calibration(replace(other, calibration=named), None, Store())
    assert chosen_calibration(other, found.calibration, Store()), "of an earlier version, which does not say"


def test_the_model_card_says_that_the_model_is_calibrated(make_judged: MakeJudged, tmp_path: Path) -> None:
    found = calibrate([overconfident(make_judged, 2_000)], Calibration(), fpr=0.05, missed=0.05).calibration
    readme = tmp_path / "README.md"
    readme.write_text(f"# a model\n\n{calibration_lines(Calibration())}\n\nthe rest\n")
    assert store_calibration(str(tmp_path), found) == str(tmp_path / "fakevlm.json")
    text = readme.read_text()
    assert f"Calibrated: temperature {found.temperature:.4g}" in text
    assert "Not calibrated" not in text
    assert text.endswith("the rest\n")
    readme.write_text("a card of somebody else")
    store_calibration(str(tmp_path), found)
    assert readme.read_text() == "a card of somebody else"


def some(reals: int, fakes: int, *, per_source: int = 1) -> list[LabelledImage]:
    return [
        LabelledImage(f"{number}.png", number >= reals, "", "", f"s{number // per_source}", ())
        for number in range(reals + fakes)
    ]


def test_what_it_takes_is_said_before_anything_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    check_enough(some(1_000, 400), fpr=0.01, missed=0.05, conditions=1)
    assert capsys.readouterr().out == (
        "a calibration takes about 330 real and 64 fake images at fpr 0.01 and missed 0.05; you have 1,000 and 400\n"
    )
    with pytest.raises(UserError) as caught:
        check_enough(some(120, 40), fpr=0.01, missed=0.05, conditions=1)
    assert re.fullmatch(
        r"data: a calibration takes about 330 real and 64 fake images at fpr 0\.01 and missed 0\.05; you have 120 "
        r"and 40 \(too few to .*threshold \d+ of 99 real, threshold \d+ of 19 fake\); add images",
        str(caught.value),
    )
    with pytest.raises(UserError, match=r"you have 1,000 and 1,000, of 2 sources, none of which is divided \(too few"):
        check_enough(some(1_000, 1_000, per_source=1_000), fpr=0.01, missed=0.05, conditions=1)
    check_enough(some(200, 200), fpr=0.1, missed=0.2, conditions=1)


def test_enough_is_enough(make_judged: MakeJudged) -> None:
    """Whatever `check_enough` lets pass can be calibrated, and what it refuses cannot."""
    for count in (40, 80, 120, 160, 240):
        judged = overconfident(make_judged, count)
        passed = True
        try:
            check_enough(judged.images, fpr=0.1, missed=0.1, conditions=1)
        except UserError:
            passed = False
        if passed:
            calibrate([judged], Calibration(), fpr=0.1, missed=0.1)
        else:
            with pytest.raises(UserError):
                calibrate([judged], Calibration(), fpr=0.1, missed=0.1)
