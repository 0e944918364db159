"""`fakescan data forge`: from photographs to a dataset; resumed, refused, and the same however it is made."""

import io
import json
import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from fakescan.cli.main import main
from fakevlm.data.checks import check_records
from fakevlm.data.dataset import open_dataset
from fakevlm.forge import families_for, family_of
from fakevlm.image_file import read_image
from tests.conftest import Bucket
from tests.fakevlm.forge.scenes import leaves, page
from tests.scan_process import ScanProcess, running

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


class Ended(NamedTuple):
    """How a command ended that ran in this process, on the session's cluster."""

    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def forge(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs `fakescan data forge` in this process, at 48 pixels unless told."""
    before = signal.getsignal(signal.SIGTERM)
    # Ray's log handlers keep the stream of the test in which it was started.
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def run(*arguments: object, status: int = 0) -> Ended:
        words = ["data", "forge", *map(str, arguments)]
        words += [] if "--edge" in words else ["--edge", "48"]
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit:
            main(words)
        ended = Ended(*capfd.readouterr())
        assert int(exit.value.code or 0) == status, f"{ended.out}\n{ended.err}"
        assert "Traceback" not in ended.err
        return ended

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of four categories; for reading only."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(12):
        category = ("animal", "doc", "satellite", "")[number % 4]
        picture = page(120, number) if category == "doc" else leaves(120, number)
        (folder / category).mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / category / f"p {number}.png")
    return folder


def error_line(ended: Ended) -> str:
    (line,) = [line for line in ended.err.splitlines() if line.startswith("fakescan: error: ")]
    return line


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a dataset, those of the ledger included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".tmp"
    }


def test_from_photographs_to_a_dataset(forge: Command, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = forge(photographs, "-o", out, "--per-photo", 6)
    dataset = open_dataset(out)
    assert check_records([dataset]) == []
    assert len(dataset.records) == 2 * 6 * 12
    for real, fake in zip(dataset.records[::2], dataset.records[1::2], strict=True):
        assert (real.label, fake.label) == (1, 0)
        assert fake.image == real.image.replace("/real/", "/fake/")
        assert real.image.split("/")[0] == real.cate == fake.cate
        assert real.source == fake.source
        assert (photographs / str(real.source)).is_file()
        assert (real.family, real.severity) == (None, None)
        assert fake.family in families_for(fake.cate)
        assert family_of(fake.answer) == fake.family
        assert real.answer.startswith("This is a real image. ")
        files = [(out / record.image).read_bytes() for record in (real, fake)]
        assert len(files[0]) == len(files[1])
        images = [read_image(data, max_pixels=10**6) for data in files]
        assert {image.rgb.size for image in images} == {(48, 48)} == {(real.width, fake.height)}
        assert images[0].format == images[1].format
        assert not np.array_equal(np.asarray(images[0].rgb), np.asarray(images[1].rgb))
    assert Counter(record.severity for record in dataset.records) == {
        None: 72,
        "subtle": 24,
        "visible": 24,
        "strong": 24,
    }
    assert {record.cate for record in dataset.records} == {"animal", "doc", "satellite", "scene"}
    splices = [record for record in dataset.records if record.family == "splice"]
    assert splices
    for record in splices:
        donor = (record.model_extra or {})["donor"]
        assert donor != record.source
        assert (photographs / donor).is_file()
    summary = json.loads((out / "forge.json").read_text())
    assert summary["settings"]["per_photo"] == 6
    assert summary["photographs"] == {"all": 12, "forged": 12}
    pairs = [
        count for families in summary["pairs"].values() for counts in families.values() for count in counts.values()
    ]
    assert sum(pairs) == 72
    assert sorted(path.name for path in out.iterdir()) == [
        *(".parts", "animal", "data_json", "doc", "forge.json", "satellite", "scene"),
    ]
    assert ended.out.startswith(f"72 pairs of 12 photographs in {out}\n")
    assert "data_json/train.json: 144 images" in ended.out
    forge(photographs, "-o", tmp_path / "again", "--per-photo", 6, "--workers", 1)
    assert contents(tmp_path / "again") == contents(out)
    ended = forge(photographs, "-o", out, "--per-photo", 6)
    assert "all was there already" in ended.out
    assert contents(tmp_path / "again") == contents(out)
    forge(photographs, "-o", tmp_path / "other", "--per-photo", 6, "--seed", 1)
    assert contents(tmp_path / "other").keys() != contents(out).keys()


def test_a_killed_run_is_resumed_to_the_same_bytes(
    forge: Command, photographs: Path, tmp_path: Path, ray_cluster: str
) -> None:
    flags = ("--per-photo", 10, "--edge", 96)
    forge(photographs, "-o", tmp_path / "whole", *flags)
    killed = tmp_path / "killed"
    with running(
        "data", "forge", photographs, "-o", killed, *flags, "--workers", 1, "--ray-address", ray_cluster
    ) as process:
        wait_for_parts(process, killed, 3)
        process.kill()
    finished = len(list((killed / ".parts").glob("0*.json")))
    assert 3 <= finished < 12
    assert not (killed / "data_json").exists()
    ended = forge(photographs, "-o", killed, *flags)
    assert "120 pairs of 12 photographs" in ended.out
    assert contents(killed) == contents(tmp_path / "whole")


def wait_for_parts(process: ScanProcess, folder: Path, count: int) -> None:
    process.wait_for(f"{count} parts", lambda: len(list((folder / ".parts").glob("0*.json"))) >= count)


def test_a_changed_setting_is_refused_and_changes_nothing(forge: Command, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("--per-photo", 1, "--families", "halo,banding,warp,frequency")
    forge(photographs, "-o", out, *given)
    before = contents(out)
    for flags, words in (
        (("--seed", 3), "seed was 0, now 3"),
        (("--per-photo", 2), "per_photo was 1, now 2"),
        (("--edge", 64), "edge was 48, now 64"),
        (("--families", "halo"), "families was warp,frequency,halo,banding, now halo"),
        (("--severity", "strong,visible"), "severities was subtle,visible,strong, now visible,strong"),
        (("--split-shares", "train=0.5,test=0.5"), "shares.test was not set, now 0.5; shares.train was 1.0, now 0.5"),
    ):
        ended = forge(photographs, "-o", out, *given, *flags, status=2)
        assert words in error_line(ended)
        assert len(ended.err.splitlines()) == 1
    assert contents(out) == before
    forge(photographs, "-o", out, *given, "--workers", 3)
    assert contents(out) == before


def test_other_photographs_than_before_are_refused(forge: Command, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    Image.fromarray(leaves(64, 1)).save(folder / "a.png")
    forge(folder, "-o", tmp_path / "out", "--per-photo", 1)
    Image.fromarray(leaves(64, 2)).save(folder / "b.png")
    assert "photographs was" in error_line(forge(folder, "-o", tmp_path / "out", "--per-photo", 1, status=2))


def test_what_cannot_be_used_is_counted_and_named(forge: Command, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    Image.fromarray(leaves(64, 1)).save(folder / "good.png")
    Image.fromarray(leaves(40, 1)).save(folder / "small.png")
    Image.new("RGB", (64, 64), "white").save(folder / "white.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    ended = forge(folder, "-o", tmp_path / "out", "--per-photo", 3, "--families", "warp,inpainting")
    assert "3 pairs of 2 photographs" in ended.out
    assert "left out: 1 under 48 pixels, 1 unreadable" in ended.out
    assert "broken.jpg: not_an_image" in ended.out
    assert "3 pairs left out: no artifact would show" in ended.out
    summary = json.loads((tmp_path / "out" / "forge.json").read_text())
    assert summary["photographs"] == {"all": 4, "forged": 2, "too_small": 1, "unreadable": 1}
    assert list(summary["unreadable"]) == ["broken.jpg"]
    assert summary["flat_pairs_left_out"] == 3


def test_nothing_to_forge_is_one_line_and_leaves_the_output_free(forge: Command, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    Image.fromarray(leaves(64, 1)).save(folder / "a.png")
    out = tmp_path / "out"
    assert "lower --edge" in error_line(forge(folder, "-o", out, "--edge", 100, status=2))
    ended = forge(folder, "-o", out, "--families", "garbled_text", status=2)
    assert "none of garbled_text suits" in error_line(ended)
    forge(folder, "-o", out)
    (folder / "a.png").write_bytes(b"no image")
    assert "a.png: not_an_image" in error_line(forge(folder, "-o", tmp_path / "other", status=2))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--families", "halo,moire"), "families: unknown: moire"),
        (("--severity", "weak"), "severities: unknown: weak"),
        (("--category", "medicine"), "category: unknown: medicine"),
        (("--edge", "10"), "edge: "),
        (("--workers", "0"), "workers: "),
        (("--split-shares", "train=0.5"), "shares: they sum to 0.5"),
    ],
)
def test_wrong_flags_are_one_line(
    forge: Command, photographs: Path, tmp_path: Path, flags: tuple[str, str], words: str
) -> None:
    ended = forge(photographs, "-o", tmp_path / "out", *flags, status=2)
    assert words in error_line(ended)
    assert not (tmp_path / "out").exists()


def test_wrong_places_are_one_line(forge: Command, photographs: Path, tmp_path: Path) -> None:
    ended = forge(tmp_path / "none", "-o", tmp_path / "out", status=2)
    assert "no such file or folder" in error_line(ended)
    (tmp_path / "file").write_text("")
    assert "a file is in the place" in error_line(forge(photographs, "-o", tmp_path / "file", status=2))
    (tmp_path / "own" / "data_json").mkdir(parents=True)
    (tmp_path / "own" / "data_json" / "train.json").write_text("[]")
    assert "was not forged here" in error_line(forge(photographs, "-o", tmp_path / "own", status=2))


def test_splits_share_no_photograph_and_no_donor(forge: Command, photographs: Path, tmp_path: Path) -> None:
    shares = "train=0.5,val=0.25,test=0.25"
    forge(photographs, "-o", tmp_path / "out", "--split-shares", shares, "--families", "splice,halo", "--per-photo", 3)
    used: dict[str, set[Any]] = {}
    for split in ("train", "val", "test"):
        records = open_dataset(tmp_path / "out", split=split).records
        used[split] = {record.source for record in records}
        used[split] |= {(record.model_extra or {})["donor"] for record in records if record.family == "splice"}
    assert [len(names) for names in used.values()] == [6, 3, 3]
    assert len(set.union(*used.values())) == 12


def test_from_bucket_to_bucket(forge: Command, s3_bucket: Bucket) -> None:
    for number in range(2):
        buffer = io.BytesIO()
        Image.fromarray(leaves(64, number)).save(buffer, "PNG")
        s3_bucket.put(f"photos/animal/{number}.png", buffer.getvalue())
    options = []
    store = s3_bucket.store
    for side in ("input", "output"):
        options += [f"--{side}-endpoint", store.endpoint_url, f"--{side}-region", store.region]
        for name, secret in store.options.items():
            options += [f"--{side}-option", f"{name}={secret.get_secret_value()}"]
    ended = forge(f"{s3_bucket.url}/photos", "-o", f"{s3_bucket.url}/set", "--per-photo", 2, *options)
    assert "4 pairs of 2 photographs" in ended.out
    fs, path = store.filesystem(f"{s3_bucket.url}/set")
    dataset = open_dataset(path, fs)
    assert len(dataset.records) == 8
    assert all(dataset.read_image(record) for record in dataset.records)
