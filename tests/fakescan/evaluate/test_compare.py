"""Two evaluations of the same images."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fakescan.cli.main import main
from fakescan.evaluate.benchmark import Benchmark, LabelledImage
from fakescan.evaluate.compare import compare
from fakescan.evaluate.config import EvaluateConfig
from fakescan.evaluate.driver import write_files
from fakescan.evaluate.measure import measure
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration
from tests.fakescan.evaluate.conftest import MakeJudged, labelled

pytestmark = pytest.mark.unit


def images(count: int, first: int = 0) -> list[LabelledImage]:
    return [labelled(f"/images/{number}.png", number % 2 == 0) for number in range(first, first + count)]


def scores(of: list[LabelledImage], skill: float, seed: int) -> list[float]:
    draw = np.random.default_rng(seed)
    raw = draw.normal([skill if image.is_fake else -skill for image in of])
    return (1 / (1 + np.exp(-raw))).tolist()


def evaluation(make_judged: MakeJudged, folder: Path, of: list[LabelledImage], values: list[float]) -> str:
    judged = {"none": make_judged(of, values)}
    config = EvaluateConfig(data="/images", output=str(folder), explain=False)
    folder.mkdir()
    write_files(config, measure(config, Benchmark(tuple(of), 0, None), judged, None), judged)
    return str(folder)


def test_a_better_model_is_better_by_more_than_chance(
    make_judged: MakeJudged, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = images(400)
    good = evaluation(make_judged, tmp_path / "good", of, scores(of, 1.5, 0))
    bad = evaluation(make_judged, tmp_path / "bad", of, scores(of, 0.3, 1))
    found = compare(good, bad, Store())
    assert found.images == 400
    _, _, difference = found.values["accuracy"]
    assert difference.low > 0
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", "--compare", bad, good])
    assert exit.value.code == 0
    assert "accuracy: the second is better, by more than chance" in capsys.readouterr().out


def test_the_same_evaluation_twice_is_no_difference(make_judged: MakeJudged, tmp_path: Path) -> None:
    of = images(60)
    one = evaluation(make_judged, tmp_path / "one", of, scores(of, 1.0, 0))
    for first, second, difference in compare(one, one, Store()).values.values():
        assert first == second
        assert (difference.difference, difference.low, difference.high, difference.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_only_common_images_count(make_judged: MakeJudged, tmp_path: Path) -> None:
    left, right = images(60), images(60, first=20)
    one = evaluation(make_judged, tmp_path / "one", left, scores(left, 1.0, 0))
    other = evaluation(make_judged, tmp_path / "other", right, scores(right, 1.0, 0))
    found = compare(one, other, Store())
    assert (found.images, found.dropped) == (40, 40)
    apart = images(10, first=500)
    third = evaluation(make_judged, tmp_path / "third", apart, scores(apart, 1.0, 0))
    with pytest.raises(UserError, match="have no image in common"):
        compare(one, third, Store())


def test_other_labels_and_unfinished_evaluations_are_refused(make_judged: MakeJudged, tmp_path: Path) -> None:
    of = images(40)
    one = evaluation(make_judged, tmp_path / "one", of, scores(of, 1.0, 0))
    turned = [labelled(image.uri, not image.is_fake) for image in of]
    other = evaluation(make_judged, tmp_path / "other", turned, scores(of, 1.0, 0))
    with pytest.raises(UserError, match="real and fake; see fakescan data validate"):
        compare(one, other, Store())
    with pytest.raises(UserError, match=r"holds no finished evaluation \(metrics.json is missing\)"):
        compare(one, str(tmp_path / "nowhere"), Store())
    (tmp_path / "other" / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="is not an evaluation of this version"):
        compare(one, other, Store())


def test_one_class_alone_is_compared_by_accuracy(
    make_judged: MakeJudged, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = [labelled(f"/{number}.png", True) for number in range(40)]
    one = evaluation(make_judged, tmp_path / "one", of, scores(of, 1.0, 0))
    with pytest.raises(SystemExit):
        main(["evaluate", "--compare", one, one])
    out = capsys.readouterr().out
    assert "F1 and AUROC: not defined, because the images are of one class only" in out
    assert "nan" not in out


def test_the_file_of_images_is_for_people_too(make_judged: MakeJudged, tmp_path: Path) -> None:
    of = images(10)
    folder = evaluation(make_judged, tmp_path / "one", of, scores(of, 1.0, 0))
    table = pq.read_table(io.BytesIO((Path(folder) / "images.parquet").read_bytes()))
    assert {"uri", "is_fake", "category", "generator", "score", "logit", "verdict", "explanation"} <= set(
        table.column_names
    )
    assert table["is_fake"].to_pylist() == [image.is_fake for image in of]


def test_a_comparison_writes_its_report(
    make_judged: MakeJudged, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = images(400)
    good = evaluation(make_judged, tmp_path / "good", of, scores(of, 1.5, 0))
    bad = evaluation(make_judged, tmp_path / "bad", of, scores(of, 0.3, 1))
    before = (tmp_path / "good" / "report.html").read_bytes()
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", "--compare", good, bad, "-o", good])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    assert f"report: {good}/comparison.html   numbers: {good}/comparison.json" in out
    assert (tmp_path / "good" / "report.html").read_bytes() == before, "the evaluation's own report stays"
    numbers = json.loads((tmp_path / "good" / "comparison.json").read_text())
    assert (numbers["images"], numbers["dropped"], numbers["uncertain"]) == (400, 0, [0.0, 0.0])
    assert list(numbers["values"]) == [
        "recall of fake", "precision of fake", "accuracy", "F1 of class real", "AUROC",
    ]  # fmt: skip
    of_first = [value >= 0.5 for value in scores(of, 1.5, 0)]
    hits = [said for said, image in zip(of_first, of, strict=True) if image.is_fake]
    assert numbers["values"]["recall of fake"]["first"] == sum(hits) / len(hits)
    assert numbers["values"]["precision of fake"]["first"] == sum(hits) / sum(of_first)
    page = (tmp_path / "good" / "comparison.html").read_text()
    assert "accuracy: the first is better, by more than chance" in page
    assert f"{100 * numbers['values']['AUROC']['first']:.2f}" in page
    assert not re.search(r"""(?:src|href)=""", page)


def test_the_share_of_uncertain_verdicts_is_said(
    make_judged: MakeJudged, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = images(40)
    band = Calibration(threshold=0.9, uncertain_low=0.5, uncertain_high=0.9)
    judged = {"none": make_judged(of, [0.7 if image.is_fake else 0.1 for image in of], calibration=band)}
    config = EvaluateConfig(data="/images", output=str(tmp_path / "one"), explain=False)
    (tmp_path / "one").mkdir()
    write_files(config, measure(config, Benchmark(tuple(of), 0, None), judged, None), judged)
    with pytest.raises(SystemExit):
        main(["evaluate", "--compare", str(tmp_path / "one"), str(tmp_path / "one")])
    out = capsys.readouterr().out
    assert "uncertain: 50.0 % of the images by the first, 50.0 % by the second" in out
    assert "precision" not in out, "none is called fake"
