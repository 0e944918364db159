"""A calibration from labels of a sample is one of the images that they stand for."""

import numpy as np
import pyarrow as pa
import pytest

from fakescan.audit.label_calibration import calibrate_with_labels
from fakescan.review.labels import read_labels
from fakescan.review.plan import COVERING, Design
from fakescan.review.sample import draw_sample
from fakescan.review.sample_file import Sample
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration, calibrated
from tests.fakescan.review.conftest import KnownRun

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("design", COVERING)
def test_scores_are_probabilities_in_the_run(known: KnownRun, design: Design) -> None:
    """The sample has three times as many fakes as the run; the calibration has the run's share."""
    sample = draw_sample(known.folder, design, 900).sample
    labels = read_labels([known.write_labels("ann", sample.rows["sha256"].to_pylist())], Store())
    found = calibrate_with_labels(sample, labels, Calibration(), fpr=0.02, missed=0.05)
    rows = [row for row in known.folder.rows(known.folder.open()).to_pylist() if row["verdict"]]
    truth = np.array([known.truth[row["sha256"]] for row in rows])
    score = calibrated(np.array([row["logit"] for row in rows], np.float64), found.calibration)
    assert score.mean() == pytest.approx(truth.mean(), rel=0.25)
    assert found.calibration.prior == pytest.approx(truth.mean(), rel=0.3)
    assert (score[~truth] >= found.calibration.threshold).mean() < 0.05


def test_logits_may_be_infinite(known: KnownRun) -> None:
    """Of a model that rules out one of the words: they are left out of the fit, and have the score 0 or 1."""
    sample = draw_sample(known.folder, "estimate", 900).sample
    logit = sample.rows["logit"].to_numpy().copy()
    logit[logit > 6] = np.inf
    rows = sample.rows.set_column(sample.rows.schema.get_field_index("logit"), "logit", pa.array(logit, pa.float32()))
    labels = read_labels([known.write_labels("ann", rows["sha256"].to_pylist())], Store())
    found = calibrate_with_labels(Sample(sample.plan, rows), labels, Calibration(), fpr=0.02, missed=0.05)
    assert 0 < found.calibration.threshold < 1
    infinite = rows.set_column(rows.schema.get_field_index("logit"), "logit", pa.array(np.full_like(logit, np.inf)))
    with pytest.raises(UserError, match="it takes at least"):
        calibrate_with_labels(Sample(sample.plan, infinite), labels, Calibration(), fpr=0.02, missed=0.05)


def test_a_design_without_known_chances_may_not_feed_one(known: KnownRun) -> None:
    sample = draw_sample(known.folder, "discover", 50).sample
    labels = read_labels([known.write_labels("ann", sample.rows["sha256"].to_pylist())], Store())
    with pytest.raises(UserError, match="no known chance"):
        calibrate_with_labels(sample, labels, Calibration(), fpr=0.01, missed=0.05)


def test_a_part_that_nobody_looked_at_is_named(known: KnownRun) -> None:
    sample = draw_sample(known.folder, "estimate", 400).sample
    seen = [row["sha256"] for row in sample.rows.to_pylist() if row["stratum"]]
    labels = read_labels([known.write_labels("ann", seen)], Store())
    with pytest.raises(UserError, match=r"no image of real 0\.00.* has one"):
        calibrate_with_labels(sample, labels, Calibration(), fpr=0.01, missed=0.05)
