"""Labelled images as a dataset: fetched again, held to their hashes, and valid."""

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from fakescan.cli.main import main
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.fakescan.review.conftest import known_run

pytestmark = pytest.mark.unit


def test_a_dataset_of_labelled_images(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    data = []
    for number in range(5):
        path = images / f"{number}.jpg"
        Image.new("RGB", (8, 6), (50 * number, 0, 0)).save(path)
        data.append(path.read_bytes())
    changes = {
        row: {"sha256": hashlib.sha256(one).hexdigest(), "width": 8, "height": 6} for row, one in enumerate(data)
    }
    changes.pop(3)  # an error in the run
    run = known_run(RunFolder(str(tmp_path / "run"), Store()), rows=5, uri=lambda row: str(images / f"{row}.jpg"),
                    changes=changes)  # fmt: skip
    (images / "4.jpg").write_bytes(data[0])  # another picture since
    words = {0: "fake", 1: "real", 2: "unsure", 4: "real"}
    lines = [{"sha256": changes[row]["sha256"], "label": word, "reviewer": "ann"} for row, word in words.items()]
    lines.append({"sha256": "f" * 64, "label": "real", "reviewer": "ann"})
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = ["data", "from-labels", run.folder.url, "--labels", str(tmp_path / "labels.jsonl"), "-o"]
    with pytest.raises(SystemExit) as exit:
        main([*command, str(tmp_path / "set"), "--category", "scene"])
    out, err = capfd.readouterr()
    assert not exit.value.code, err
    assert "2 records: real 1, fake 1" in out
    assert "1 images are unsure" in out
    assert "1 labelled images are not in this run" in out
    assert "has other bytes now than were labelled" in out
    records = json.loads((tmp_path / "set" / "data_json" / "train.json").read_text())
    assert [record["label"] for record in records] == [0, 1]
    assert (tmp_path / "set" / records[0]["image"]).read_bytes() == data[0]
    with pytest.raises(SystemExit) as exit:
        main(["data", "validate", str(tmp_path / "set"), "--images"])
    assert not exit.value.code, capfd.readouterr()
    with pytest.raises(SystemExit) as exit:
        main([*command, str(tmp_path / "set")])
    assert exit.value.code == 2
    assert "train.json exists" in capfd.readouterr().err
