"""The tables in the terminal: the numbers that come first are whole in any window."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from fakescan.evaluate.benchmark import Benchmark
from fakescan.evaluate.config import EvaluateConfig
from fakescan.evaluate.measure import measure
from fakescan.evaluate.results import Results
from fakescan.evaluate.table import print_results
from fakescan.terminal.tables import Column, print_fitting, wide_console
from tests.fakescan.evaluate.conftest import MakeJudged, labelled
from tests.screen import Screen

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("plain_terminal")]

FIRST = ("recall", "precision", "Acc", "uncertain")


@pytest.fixture
def results(make_judged: MakeJudged) -> Results:
    """Of as many images as FakeClue's test split has, in all its categories, by two generators, under a distortion."""
    draw = np.random.default_rng(0)
    kinds = ("animal", "human", "object", "scene", "satellite", "doc", "deepfake")
    images = [
        labelled(f"/{number}.png", number < 3192, category=kinds[number % 7],
                 generator=("stable-diffusion-xl", "midjourney-v6")[number % 2] if number < 3192 else "")
        for number in range(5000)
    ]  # fmt: skip
    scores = [float(np.clip(draw.normal(0.9 if image.is_fake else 0.1, 0.2), 0.01, 0.99)) for image in images]
    judged = make_judged(images, scores)
    config = EvaluateConfig(data="/data", output="/nowhere", benchmark="fakeclue", explain=False)
    return measure(config, Benchmark(judged.images, 0, None), {"none": judged, "jpeg70": judged}, None)


def printed(screen: Screen, results: Results, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("sys.stdout", screen.stream)
    print_results(results)
    return screen.lines()


def cells(lines: list[str], first: str) -> list[str]:
    """The row that begins so, in its cells."""
    (line,) = [line for line in lines if line.strip().startswith(first)]
    return re.split(r" {2,}", line.strip())


@pytest.mark.parametrize("columns", [80, 72, 100, 200])
def test_the_numbers_that_come_first_are_whole(
    columns: int, make_screen: Callable[[int], Screen], results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(make_screen(columns), results, monkeypatch)
    text = "\n".join(lines)
    overall = results.overall
    assert "…" not in text
    headers = [re.split(r" {2,}", line.strip()) for line in lines if "precision  " in line and "Acc" in line]
    assert len(headers) == 3, "of the model, by category and by condition"
    assert all(set(FIRST) < set(header) for header in headers)
    for header, row in zip(
        headers, ("builtin-small" if "builtin-small" in text else "m ", "satellite", "jpeg70"), strict=True
    ):
        assert len(cells(lines, row)) == len(header), "no cell is broken"
    said = f"{100 * overall.accuracy:.1f}"
    assert cells(lines, "jpeg70")[headers[2].index("Acc")] == said
    assert "Qwen2-VL-72B (" in text
    assert "arXiv 2503.14905 v2" in text
    narrow = "left out in a window of" in text
    assert narrow == (columns <= 100)


def test_what_is_no_terminal_has_everything(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(results)
    out = capsys.readouterr().out
    assert "left out in a window" not in out
    assert out.count("ECE-15") == 4


def test_columns_go_in_the_order_that_is_said(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", screen.stream)
    names = Column("name", ["a name that is longer than any window of eighty columns " * 2])
    wide = [Column(name, [name * 12], [name], f"most of {name}") for name in "abc"]
    print_fitting(wide_console(), "title", names, [*wide, Column("d", ["d" * 12])], ("b", "b", "d"))
    lines = screen.lines()
    assert lines[-1] == "left out in a window of 80 columns: most of b", "then it fits"
    text = "".join(lines)
    assert "b" * 12 not in text
    assert all(letter * 12 in text for letter in "acd")
