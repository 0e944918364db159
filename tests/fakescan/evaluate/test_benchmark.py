"""Labelled images from datasets and from trees of folders."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from fakescan.evaluate.benchmark import read_benchmark, read_images
from fakescan.evaluate.config import EvaluateConfig
from fakevlm.errors import UserError
from tests.fakevlm.data.labelled import fields, png, write_dataset
from tests.fakevlm.data.published import LOKI_ROOT, dd_vqa, loki_earlier

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


def test_stray_images_are_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(tmp_path, "real/a.png", "fake/b.png", "other/c.png", "d.png")
    found = read_benchmark(config(root))
    assert [Path(image.uri).name for image in found.images] == ["b.png", "a.png"]
    assert (found.left_out, found.left_out_names) == (2, ("d.png", "other/c.png"))
    assert "2 images are in no folder named real, 0_real, fake, 1_fake and are left out, such as d.png" in caplog.text


def test_a_tree_without_any_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no labelled images: 2 images are in no folder named .*; see --label$"):
        read_benchmark(config(tree(tmp_path, "ai/a.png", "nature/b.png")))


def test_folders_labelled_otherwise(tmp_path: Path) -> None:
    root = tree(
        tmp_path, "Midjourney/val/ai/1.png", "Midjourney/val/Nature/2.png", "progan/cat/0_real/3.png",
        "progan/cat/1_fake/sub/4.png", "Midjourney/val/ai/nature/5.png",
    )  # fmt: skip
    found = read_benchmark(config(root, labels=("ai=fake", "NATURE=real")))
    assert {Path(image.uri).stem: (image.is_fake, image.category, image.generator) for image in found.images} == {
        "1": (True, "Midjourney/val", ""),
        "2": (False, "Midjourney/val", ""),
        "3": (False, "progan/cat", ""),
        "4": (True, "progan/cat", "sub"),
        "5": (False, "Midjourney/val/ai", ""),
    }
    assert found.left_out == 0


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("ai",), "label: 'ai' is not NAME=real or NAME=fake"),
        (("=fake",), "is not NAME=real"),
        (("ai=synthetic",), "is not NAME=real"),
        (("ai=fake", "AI=real"), "label: 'AI' is said to be real and fake"),
    ],
)
def test_labels_that_say_nothing(labels: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        read_benchmark(config(tree(tmp_path, "ai/a.png"), labels=labels))


def test_settings_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", [fields("a/1.png")])
    with pytest.raises(UserError, match=r"^label: it names folders"):
        read_benchmark(config(tmp_path / "set", "fakeclue", labels=("ai=fake",)))
    with pytest.raises(UserError, match=r"^image_root: a folder tree has no records"):
        read_benchmark(config(tree(tmp_path / "tree", "real/a.png"), image_root="/mnt"))


def test_loki_as_published_counts_each_image_once_without_a_reference(tmp_path: Path) -> None:
    items = [*loki_earlier("doc/real/1.jpg", fake=False), *loki_earlier("sence/fake/2.png", fake=True)]
    (tmp_path / "list.json").write_text(json.dumps(items))
    found = read_images(config(tmp_path / "list.json", "loki", image_root=LOKI_ROOT), usual_split="test")
    assert [(image.uri, image.is_fake, image.category, image.references) for image in found.images] == [
        (str(tmp_path / "doc/real/1.jpg"), False, "doc", ()),
        (str(tmp_path / "sence/fake/2.png"), True, "scene", ()),
    ]
    assert (found.repeated, dict(found.documents)) == (0, {0: 0, 1: 0, 2: 1, 3: 1})
    with pytest.raises(UserError, match=r"is absolute; .* with --image-root"):
        read_benchmark(config(tmp_path / "list.json", "loki"))


def test_dd_vqa_as_published_has_several_references_for_a_frame(tmp_path: Path) -> None:
    tree(tmp_path, *(f"Deepfakes/c23/frames/114_102/{number}.png" for number in range(3)))
    (tmp_path / "list.json").write_text(json.dumps(dd_vqa("0_114_102")))
    found = read_benchmark(config(tmp_path / "list.json", "dd-vqa"))
    assert [Path(image.uri).stem for image in found.images] == ["0", "1", "2"]
    assert found.images[1].references == (
        "The skin looks fake. It is as it is.",
        "The skin looks fake. It is seen again.",
    )
    assert {image.generator for image in found.images} == {"Deepfakes"}


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
    assert images[0].references == ("This is a real image. The fur is even.",)
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
