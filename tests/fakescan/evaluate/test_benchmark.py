"""Labelled images from datasets and from trees of folders."""

import io
import tarfile
from pathlib import Path

import pytest

from fakescan.evaluate.benchmark import read_benchmark
from fakescan.evaluate.config import EvaluateConfig
from fakevlm.errors import UserError
from tests.fakevlm.data.labelled import fields, png, write_dataset

pytestmark = pytest.mark.unit


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png())
    return root


def config(data: Path, benchmark: str = "folder", **more: object) -> EvaluateConfig:
    return EvaluateConfig.model_validate({"data": str(data), "benchmark": benchmark, "output": "/nowhere", **more})


def test_a_tree_is_labelled_by_the_nearest_folder(tmp_path: Path) -> None:
    root = tree(tmp_path, "animal/Real/a.png", "animal/fake/sdxl/b.png", "fake/real/c.png", "real/d.png", "fake/e.png")
    found = {Path(image.uri).stem: image for image in read_benchmark(config(root)).images}
    assert {name: image.is_fake for name, image in found.items()} == {
        "a": False, "b": True, "c": False, "d": False, "e": True,
    }  # fmt: skip
    assert found["b"].category == "animal"
    assert found["b"].generator == "sdxl"
    assert (found["a"].generator, found["d"].category, found["e"].generator) == ("", "", "")


def test_a_folder_named_real_above_the_tree_labels_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path / "real" / "set", "fake/a.png", "real/b.png")
    assert [image.is_fake for image in read_benchmark(config(root)).images] == [True, False]


def test_images_without_a_label_are_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, "real/a.png", "fake/b.png", "other/c.png", "d.png")
    with pytest.raises(UserError, match=r"^data: 2 images of .* are not in a folder named real or fake; move them"):
        read_benchmark(config(root))


def test_a_tree_has_no_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^split: a folder tree has no splits"):
        read_benchmark(config(tree(tmp_path, "real/a.png"), split="test"))


def test_archives_are_no_tree(tmp_path: Path) -> None:
    folder = tmp_path / "fake"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as tar:
        member = tarfile.TarInfo("real/1.png")
        member.size = len(png())
        tar.addfile(member, io.BytesIO(png()))
    with pytest.raises(UserError, match=r"^data: .* is not a folder of images; unpack it"):
        read_benchmark(config(tmp_path))


def test_an_empty_tree(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images found"):
        read_benchmark(config(tmp_path))


def test_a_dataset_is_read_from_its_test_split(tmp_path: Path) -> None:
    write_dataset(tmp_path, [fields("animal/real/1.png")], split="train")
    write_dataset(
        tmp_path,
        [
            fields("animal/real/2.png", source="photo-2"),
            fields("deepfake/fake/ff++/3.png", 0, cate="deepfake"),
            fields("animal/fake/4.png", 0, generator="sd15"),
        ],
        split="test",
    )
    images = read_benchmark(config(tmp_path, "fakeclue")).images
    assert [(image.is_fake, image.category, image.generator) for image in images] == [
        (False, "animal", ""), (True, "deepfake", "ff++"), (True, "animal", "sd15"),
    ]  # fmt: skip
    assert images[0].source == "photo-2"
    assert images[0].reference == "This is a real image. The fur is even."
    assert [image.uri for image in read_benchmark(config(tmp_path, "fakeclue", split="train")).images] == [
        str(tmp_path / "animal" / "real" / "1.png")
    ]


def test_an_image_counts_once_and_has_one_label(tmp_path: Path) -> None:
    write_dataset(tmp_path, [fields("a/1.png"), fields("a/1.png"), fields("a/2.png", 0)])
    found = read_benchmark(config(tmp_path, "fakeclue"))
    assert (len(found.images), found.repeated) == (2, 1)
    write_dataset(tmp_path, [fields("a/1.png"), fields("a/1.png", 0)])
    with pytest.raises(UserError, match=r"1\.png is called real and fake; see fakescan data validate"):
        read_benchmark(config(tmp_path, "fakeclue"))


def test_a_sample_keeps_the_share_of_fakes_and_is_the_same_again(tmp_path: Path) -> None:
    write_dataset(tmp_path, [fields(f"a/{number}.png", int(number % 4 > 0)) for number in range(200)], images=False)
    first = read_benchmark(config(tmp_path, "fakeclue", sample=40)).images
    assert len(first) == 40
    assert sum(image.is_fake for image in first) == 10
    assert first == read_benchmark(config(tmp_path, "fakeclue", sample=40)).images
    assert len(read_benchmark(config(tmp_path, "fakeclue", sample=500)).images) == 200
