"""The report: one page that needs nothing else."""

import re
from pathlib import Path

import pytest

from fakescan.evaluate.benchmark import Benchmark
from fakescan.evaluate.config import EvaluateConfig
from fakescan.evaluate.measure import measure
from fakescan.evaluate.report import MAX_MISTAKES, render
from fakescan.storage.store import Store
from tests.fakescan.evaluate.conftest import MakeJudged, labelled
from tests.fakevlm.data.labelled import png

pytestmark = pytest.mark.unit


def test_the_page_shows_the_worst_mistakes_and_needs_nothing_from_outside(
    make_judged: MakeJudged, tmp_path: Path
) -> None:
    images = []
    for number in range(40):
        file = tmp_path / f"<b>{number}.png"
        file.write_bytes(png())
        images.append(labelled(str(file), number % 2 == 0, category="animal" if number < 20 else "doc"))
    gone = labelled(str(tmp_path / "gone.png"), False)
    judged = make_judged([*images, gone], [number / 50 for number in range(40)] + [0.99])
    config = EvaluateConfig(data=str(tmp_path), output="/nowhere", explain=False)
    conditions = {"none": judged, "jpeg70": judged}
    page = render(measure(config, Benchmark(judged.images, 0, None), conditions, None), conditions, Store())
    assert page.count("<svg") == 4
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page), "no file of its own, no network"
    assert "<b>3.png" not in page, "names are shown, not obeyed"
    shown = re.findall(r"<b>score ([\d.]+)", page)
    assert len(shown) <= 2 * MAX_MISTAKES
    assert shown[0] == "0.990", "the worst first"
    assert "Fake images called real: 13" in page
    assert page.count("12 of them are shown, those furthest from the threshold.") == 1
    assert "cannot be read any more" in page
    assert "nan" not in re.sub(r"base64,\S+", "", page).lower()


def test_one_class_alone_has_a_page_too(make_judged: MakeJudged) -> None:
    judged = make_judged([labelled("a", True), labelled("b", True)], [0.1, 0.8])
    config = EvaluateConfig(data="/data", output="/nowhere", explain=False)
    page = render(measure(config, Benchmark(judged.images, 0, None), {"none": judged}, None), {"none": judged}, Store())
    assert "there are no real images" in page
