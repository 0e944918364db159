"""From a record to the photograph or video it was made from."""

import pytest

from fakevlm.data.groups import photograph_stem, sources
from tests.fakevlm.data.labelled import record

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("image", "ids"),
    [
        ("ff++/fake/Deepfakes/000_003/160.png", ("ff++:000", "ff++:003")),
        ("ff++/fake/FaceSwap/c23/frames/003_000/0007.png", ("ff++:003", "ff++:000")),
        ("ff++/real/000/12.png", ("ff++:000",)),
        ("ff++/real/original/003/frame_4.png", ("ff++:003",)),
        ("ff++/fake/DFD/01_02__walking__ABC/8.png", ("ff++:01", "ff++:02")),
        ("deepfake/FF++/fake/Face2Face/033_097_160.png", ("ff++:033", "ff++:097")),
        ("ff++/real/033_160.png", ("ff++:033",)),
        ("celeb-df/fake/id1_id2_0003/00012.jpg", ("video:celeb-df/id1_id2_0003",)),
        ("celeb-df/real/id1_0003/frame0012.jpg", ("video:celeb-df/id1_0003",)),
        ("deepfake/fake/img_0012.jpg", ("file:deepfake/img_0012",)),
        ("faces/fake/face-7_crop2.jpg", ("file:faces/face-7",)),
    ],
)
def test_deepfakes(image: str, ids: tuple[str, ...]) -> None:
    assert sources(record(image, cate="deepfake")) == ids


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("animal/real/dog_12.png", "animal/fake/dog_12.jpg", True),
        ("animal/real/dog.png", "animal/fake/splice/dog_fake.png", True),
        ("animal/real/IMG_77.png", "animal/fake/IMG_77-crop3.png", True),
        ("animal/real/000123_1.png", "animal/real/000123_12.png", True),
        ("animal/real/a (2).png", "animal/real/a.png", True),
        ("real/9_crop_1_2.png", "fake/9_patch4_original.png", True),
        ("animal/real/dog_1.png", "animal/real/dog_2.png", False),
        ("animal/real/IMG_7701.png", "animal/real/IMG_7702.png", False),
        ("animal/real/0001.png", "scene/real/0001.png", False),
        ("animal/fake/sd_fake_0001.png", "animal/fake/sd_fake_0002.png", False),
    ],
)
def test_photographs(one: str, other: str, same: bool) -> None:
    assert (sources(record(one)) == sources(record(other))) is same


def test_the_record_knows_better_than_its_path() -> None:
    assert sources(record("ff++/fake/m/000_003/1.png", source="photo")) == ("source:photo",)


@pytest.mark.parametrize("stem", ["crop_1", "(1)", "_fake", "", "real", "1_2"])
def test_a_name_of_nothing_but_suffixes_stays_a_name(stem: str) -> None:
    assert photograph_stem(stem) or not stem


def test_long_names_take_no_time() -> None:
    for _ in range(100):
        assert photograph_stem("x_crop" + "1" * 250 + "y").endswith("y")
        assert photograph_stem("_crop1" * 42 + "y").endswith("y")
