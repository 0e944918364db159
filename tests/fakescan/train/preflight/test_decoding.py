"""Decoding before a training: bad images are found, and what was decoded once is not decoded again."""

import shutil
from pathlib import Path

import pytest

from fakescan.train.preflight import decoding
from fakescan.train.preflight.decoding import undecodable
from fakevlm.data.dataset import Dataset, open_dataset
from fakevlm.data.images import check_presence
from tests.conftest import Bucket

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKEVLM_CACHE", str(tmp_path / "cache"))


def found(dataset: Dataset, left_out: frozenset[str] = frozenset()) -> dict[str, str]:
    return undecodable(dataset, check_presence(dataset).versions, left_out)


def test_bad_images_are_found_once_and_sound_ones_not_decoded_again(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(shutil.copytree(labelled, tmp_path / "data"))
    dataset = open_dataset(data, split="val")
    bad, cut = dataset.records[3].image, dataset.records[5].image
    (data / bad).write_bytes(b"no image")
    (data / cut).write_bytes((data / cut).read_bytes()[:100])
    assert {name: why.partition(":")[0] for name, why in found(dataset).items()} == {
        bad: "not_an_image",
        cut: "truncated",
    }
    asked: list[int] = []
    decode = decoding.check_decoding

    def counting(part: Dataset, *arguments: object, **options: object) -> object:
        asked.append(len(part.records))
        return decode(part, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "check_decoding", counting)
    assert found(dataset, frozenset({cut})).keys() == {bad}
    assert asked == [1], "the others were sound"
    shutil.copyfile(data / dataset.records[1].image, data / bad)
    assert found(dataset, frozenset({cut})) == {}
    assert found(dataset, frozenset({cut})) == {}
    assert asked == [1, 1], "the new one once"


def test_images_in_a_store_are_known_by_their_etags(labelled: Path, s3_bucket: Bucket) -> None:
    location = s3_bucket.upload(labelled, "data")
    fs, path = s3_bucket.store.filesystem(location)
    dataset = open_dataset(path, fs, split="val")
    assert found(dataset) == {}
    before = check_presence(dataset).versions
    assert len(set(before.values())) > 8
    assert "" not in before.values()
    image = dataset.image_path(dataset.records[3])
    fs.pipe_file(image, b"no image")
    fs.invalidate_cache()
    after = check_presence(dataset).versions
    assert {name for name in after if after[name] != before[name]} == {image}
    assert found(dataset).keys() == {dataset.records[3].image}


def test_a_cache_that_cannot_be_written_is_no_fault(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FAKEVLM_CACHE", str(tmp_path / "file"))
    assert found(open_dataset(labelled, split="val")) == {}
    assert "decoded again next time" in caplog.text
