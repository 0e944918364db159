"""`fakescan evaluate` and `calibrate` as a person uses them: what is wrong is one line, and no engine starts."""

import importlib.util
from pathlib import Path

import pytest

from fakescan.cli.main import main
from tests.fakevlm.data.labelled import fields, write_dataset

pytestmark = pytest.mark.unit


def refused(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that the command ends with."""
    with pytest.raises(SystemExit) as exit:
        main([*map(str, arguments)])
    out, err = capfd.readouterr()
    assert exit.value.code == 2, err
    assert out == ""
    (line,) = err.splitlines()
    return line.removeprefix("fakescan: error: ")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", [fields("a/1.png"), fields("a/2.png", 0)], split="test")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--output", "{out}"], "data: missing; name it with --data"),
        (["--data", "{data}"], "output: missing; name it with --output"),
        (["--data", "{data}", "--output", "{out}", "--benchmark", "imagenet"], "benchmark: Input should be"),
        (["--data", "{data}", "--output", "{out}", "--robustness", "jpeg71"], "robustness: "),
        (["--data", "{data}", "--output", "{out}", "--sample", "0"], "sample: Input should be greater than"),
        (["--data", "{data}", "--output", "{out}", "--split", "nowhere"], "split: "),
        (
            ["--data", "{data}", "--output", "{out}", "--exclude-duplicates"],
            "exclude_duplicates: there is no training set",
        ),
        (["--data", "{out}/none", "--output", "{out}"], "cannot read"),
        (["--data", "{data}", "--output", "{out}", "--model", "{out}/none"], "model"),
        (["--data", "{data}", "--output", "{out}", "--engine", "gpt"], "engine: "),
        (["--answers", "{out}/none.jsonl"], "answers: "),
        (["--compare", "{out}/a", "{out}/b"], "compare: "),
    ],
)
def test_wrong_settings_of_evaluate(
    arguments: list[str], line: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refused(capfd, "evaluate", *(part.format(data=data, out=tmp_path / "out") for part in arguments))
    assert said.startswith(line) or line in said, said


def test_missing_packages_are_named_before_anything_is_judged(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    absent = {"sklearn", "rouge_score"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    arguments = ["evaluate", "--data", data, "--output", tmp_path / "out", "--training", data]
    wanted = "not installed; pip install 'fakescan[evaluate]'"
    assert refused(capfd, *arguments) == f"sklearn, rouge_score: {wanted}"
    assert refused(capfd, *arguments, "--no-explain") == f"sklearn: {wanted}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fpr", ["0", "1", "-1"])
def test_a_share_that_is_none(fpr: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = refused(capfd, "calibrate", "--data", data, "--output", tmp_path / "out", "--fpr", fpr)
    assert said.startswith("fpr: Input should be")


def test_malformed_datasets(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data" / "data_json"
    folder.mkdir(parents=True)
    for content in ("{", "[]", '[{"image": 3}]'):
        (folder / "test.json").write_text(content)
        said = refused(capfd, "evaluate", "--data", tmp_path / "data", "--output", tmp_path / "out")
        assert said.startswith("data: "), said
