"""`fakescan train` as a person uses it: what is wrong is one line, and no worker starts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.main import main
from tests.striped import settings

pytestmark = pytest.mark.unit


@pytest.fixture
def config(tiny_model: Path, labelled: Path, tmp_path: Path) -> Path:
    """A sound configuration of a copy of the data that the test may spoil."""
    shutil.copytree(labelled, tmp_path / "data")
    file = tmp_path / "train.yaml"
    file.write_text(json.dumps(settings(tiny_model, tmp_path / "data", tmp_path / "runs")))
    return file


def refused(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that `fakescan train` ends with."""
    with pytest.raises(SystemExit) as exit:
        main(["train", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert exit.value.code == 2, err
    assert out == ""
    *before, line = err.splitlines()
    assert before == []
    return line.removeprefix("fakescan: error: ")


def spoil(data: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    file = data / "data_json" / "train.json"
    records = json.loads(file.read_text())
    change(records)
    file.write_text(json.dumps(records))


def test_an_unknown_category(config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spoil(tmp_path / "data", lambda records: records[3].update(cate="vegetable"))
    line = refused(capfd, config)
    assert line.startswith("data: ")
    assert "vegetable" in line
    assert "animal" in line, "the known ones are named"


def test_missing_images_are_counted(config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in (0, 2, 4):
        (tmp_path / "data" / "object" / "fake" / f"train-{number}.png").unlink()
    line = refused(capfd, config)
    assert line.startswith("data: ")
    assert "object/fake/train-0.png" in line
    assert "3 problems in all, see fakescan data validate" in line


def test_a_checkpoint_that_is_no_llava(config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "bert"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    line = refused(capfd, config, "--set", f"model={other}")
    assert "bert" in line
    assert "llava" in line.lower()


def test_an_unknown_setting(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert refused(capfd, config, "--set", "learning_rate=1") == (
        "learning_rate: unknown setting; see fakescan train --help"
    )


def test_a_file_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "none.yaml" in refused(capfd, tmp_path / "none.yaml")


def test_a_sample_that_is_too_long(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = refused(capfd, config, "--set", "max_length=40")
    assert "max_length" in line
    assert "40" in line


def test_bad_images_are_found_before_anything_starts(
    config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in (0, 2):
        (tmp_path / "data" / "object" / "fake" / f"train-{number}.png").write_bytes(b"no image")
    with pytest.raises(SystemExit) as exit:
        main(["train", str(config)])
    assert exit.value.code == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith(
        "fakescan: error: data: 2 images cannot be read, the first is object/fake/train-0.png: not_an"
    )
    assert line.endswith("raise max_bad_images from 0 to leave them out")


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(
    config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "object" / "fake" / "train-0.png").write_bytes(b"no image")
    (tmp_path / "data" / "object" / "fake" / "train-2.png").unlink()
    changes = ["--set", "max_bad_images=2", "--set", "exclude=[object/real/train-1.png]"]
    with pytest.raises(SystemExit) as exit:
        main(["train", str(config), "--dry-run", *changes])
    out, err = capfd.readouterr()
    assert exit.value.code == 0, err
    assert not (tmp_path / "runs").exists()
    first, memory, disk, left_out, ok = out.splitlines()
    assert first.startswith("40 samples, 1 of them left out, 10 steps of 8; at most ")
    assert memory.startswith("memory: about 0.")
    assert memory.endswith("GB for each of 2 workers, in fp32")
    assert disk.startswith("disk: up to 0.")
    assert left_out == "left out: 2 images that cannot be read"
    assert ok.startswith("ok: ")
    assert "image object/fake/train-0.png is left out: not_an_image" in err
    assert "image object/fake/train-2.png is left out: there is no file" in err


def test_a_dry_run_says_how_images_are_augmented_and_classes_count(
    config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(tmp_path / "data", lambda records: records.__delitem__(slice(0, 20, 2)))  # ten fake ones
    changes = ["--set", "augment={operations: 1, blur: [1, 2]}", "--set", "balance=sampling"]
    with pytest.raises(SystemExit) as exit:
        main(["train", str(config), "--dry-run", *changes])
    out, err = capfd.readouterr()
    assert exit.value.code == 0, err
    first, augmentation, classes, reading, *_ = out.splitlines()
    assert first.startswith("30 samples, 40 drawn in an epoch, 10 steps of 8; ")
    assert augmentation.startswith("augmentation: 50 % of the samples by one of jpeg 40 to 95, webp 40 to 95, ")
    assert "blur 1 to 2" in augmentation
    assert classes == (
        "classes: 10 fake and 20 real records; each epoch draws both 20 times, so that one of the rarer class is shown "
        "2 times"
    )
    assert reading.startswith("reading an image takes about ")
    assert "(measured on 24 images of 0.0071 megapixels on average)" in reading


def test_one_class_cannot_be_balanced(config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spoil(tmp_path / "data", lambda records: records.__delitem__(slice(0, 40, 2)))
    assert refused(capfd, config, "--set", "balance=weights") == (
        "balance: every record is real, so there is nothing to balance; leave it out"
    )


def test_exporting_what_is_no_checkpoint(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "train.json is missing" in refused(capfd, "export", tmp_path)
    assert "cannot read" in refused(capfd, "export", tmp_path / "none")
