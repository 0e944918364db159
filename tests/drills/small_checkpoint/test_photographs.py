"""Gathering photographs: what is taken from an archive, what is no photograph, which pictures belong together."""

import gzip
import hashlib
import io
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from tools.small_checkpoint import photo_cache, photo_filter, photographs, rendered_pages, rendered_scenes
from tools.small_checkpoint.photo_cache import Batch, Picture
from tools.small_checkpoint.photo_sources import (
    FetchError,
    Lock,
    Member,
    Package,
    Take,
    fetch,
    members,
    read_lock,
    resource_files,
)
from tools.small_checkpoint.photo_split import TEST_SHARE, Look, bit_distances, place, side
from tools.small_checkpoint.typesetting import covers_alphabet, paragraphs

pytestmark = pytest.mark.unit


def photograph(seed: int, width: int = 320, height: int = 288) -> Image.Image:
    """A picture with the colours, the grain and the large forms of a photograph."""
    rng = np.random.default_rng(seed)
    forms = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return Image.fromarray(np.clip(np.asarray(forms) + rng.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def package(archive: Path | None = None, **changes: object) -> Package:
    facts: dict[str, object] = {
        "registry": "npm",
        "name": "pictures",
        "version": "1.0",
        "file": archive.name if archive else "pictures-1.0.tgz",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest() if archive else "0" * 64,
        "licence": "CC0-1.0",
        "redistributable": True,
        "take": [{"paths": ["*.jpg", "*.png", "*.webp"], "category": "scene"}],
    }
    return Package.model_validate({**facts, **changes})


def zip_of(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return path


def tar_bytes(files: dict[str, bytes], mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def qt_resource(files: dict[str, tuple[bytes, bool]]) -> bytes:
    """A resource file with one folder `res`; the flag says whether a file is compressed."""
    names, data, nodes = b"", b"", b""

    def name(text: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return at

    nodes += struct.pack(">IHIIQ", 0, 2, 1, 1, 0)
    nodes += struct.pack(">IHIIQ", name("res"), 2, len(files), 2, 0)
    for path, (content, compressed) in files.items():
        nodes += struct.pack(">IHHHIQ", name(path), int(compressed), 0, 0, len(data), 0)
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if compressed else content
        data += struct.pack(">I", len(stored)) + stored
    head = 20
    offsets = (2, head, head + len(nodes), head + len(nodes) + len(data))
    return b"qres" + struct.pack(">4I", *offsets) + nodes + data + names


def test_lock_pins_every_package_and_covers_the_categories() -> None:
    lock = read_lock()
    names = [(package.registry, package.name) for package in lock.packages]
    assert len(set(names)) == len(names)
    assert {take.category for package in lock.packages for take in package.take} >= {
        "animal",
        "human",
        "object",
        "scene",
        "satellite",
        "doc",
        "deepfake",
    }
    assert sum(package.photographs for package in lock.packages) >= 600
    text = json.dumps(lock.model_dump())
    assert "://" not in text


def test_lock_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        Lock.model_validate({"packages": [{**package().model_dump(), "colour": "red"}]})


def test_fetched_archive_that_is_not_the_pinned_one_is_refused_and_removed(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "pictures.zip", a_jpg=b"x")
    assert fetch(package(archive), tmp_path) == archive
    with pytest.raises(FetchError, match="sha256"):
        fetch(package(archive, sha256="1" * 64), tmp_path)
    assert not archive.exists()


def test_package_that_the_client_cannot_fetch_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="npm is not installed"):
        fetch(package(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_members_of_zip_tar_and_deb_follow_the_rules(tmp_path: Path) -> None:
    wanted = package(
        take=[{"paths": ["*/cats/*.jpg"], "category": "animal"}, {"paths": ["*.jpg"], "category": "scene"}],
        leave=["*/icon*"],
    )
    files = {"./p/cats/tom.jpg": b"cat", "./p/hill.jpg": b"hill", "./p/icon.jpg": b"icon", "./p/read.me": b"text"}
    tgz, deb, zipped = tmp_path / "p.tgz", tmp_path / "p.deb", tmp_path / "p.zip"
    tgz.write_bytes(tar_bytes(files, "w:gz"))
    data = tar_bytes(files, "w:xz")
    parts = [(b"debian-binary", b"2.0\n"), (b"control.tar.xz", b"odd"), (b"data.tar.xz", data)]
    ar = b"!<arch>\n"
    for name, content in parts:
        ar += (
            name.ljust(16) + b"0".ljust(12) + b"0".ljust(12) + b"100644".ljust(8) + str(len(content)).encode().ljust(10)
        )
        ar += b"`\n" + content + b"\n" * (len(content) % 2)
    deb.write_bytes(ar)
    with zipfile.ZipFile(zipped, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.removeprefix("./"), content)
    for path in (tgz, deb, zipped):
        found = list(members(path, wanted))
        assert found == [("p/cats/tom.jpg", b"cat"), ("p/hill.jpg", b"hill")]
        assert [take.category for member in found if (take := wanted.rule(member.path))] == ["animal", "scene"]


def test_members_inside_qt_resources_and_gzip(tmp_path: Path) -> None:
    rcc = qt_resource({"a.webp": (b"plain", False), "b.jpg": (b"packed" * 9, True), "c.svg": (b"no", False)})
    assert dict(resource_files(rcc)) == {"res/a.webp": b"plain", "res/b.jpg": b"packed" * 9, "res/c.svg": b"no"}
    with pytest.raises(ValueError, match="not a Qt resource"):
        list(resource_files(b"else"))
    archive = zip_of(tmp_path / "p.zip", data__game_rcc=rcc, d_jpg_gz=gzip.compress(b"zipped"))
    wanted = package(take=[{"paths": ["*.jpg", "*.webp", "*.jpg.gz"], "category": "object"}])
    assert sorted(members(archive, wanted)) == [
        ("d.jpg.gz", b"zipped"),
        ("data/game.rcc/res/a.webp", b"plain"),
        ("data/game.rcc/res/b.jpg", b"packed" * 9),
    ]


SCENE = Take(paths=("*",), category="scene")


def drawing() -> Image.Image:
    image = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(image)
    for size in range(10, 190, 30):
        draw.ellipse((size, size, 400 - size, 400 - size), fill=(size, 255 - size, 90))
    return image


def cut_out() -> Image.Image:
    image = photograph(1)
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    return image


def on_white() -> Image.Image:
    image = Image.new("RGB", (800, 800), "white")
    image.paste(photograph(1, 400, 400), (0, 0))
    return image


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (photograph(1, 255, 400), "small"),
        (photograph(1, 1200, 300), "narrow"),
        (drawing(), "few colours"),
        (drawing().convert("L"), "few greys"),
        (on_white(), "flat: 0.75"),
        (cut_out(), "transparent"),
    ],
)
def test_what_is_no_photograph(image: Image.Image, reason: str) -> None:
    assert photo_cache.photographs_of(Member("a.png", encoded(image)), SCENE) == reason


def test_file_that_is_no_image_is_left_out_with_a_reason() -> None:
    for data in (b"", b"GIF89a", encoded(photograph(1))[:3000]):
        assert "unreadable" in photo_cache.photographs_of(Member("a.jpg", data), SCENE)


def only(image: Image.Image, format: str = "PNG", take: Take = SCENE, **options: object) -> photo_filter.Kept:
    """What is kept of a file with one photograph."""
    found = photo_cache.photographs_of(Member("a", encoded(image, format, **options)), take)
    assert not isinstance(found, str), found
    ((number, kept),) = found
    assert number is None
    return kept


def test_originals_stay_as_they_are_where_any_reader_sees_the_same() -> None:
    image = photograph(2)
    assert only(image, "JPEG", quality=80).data == encoded(image, "JPEG", quality=80)
    assert only(image).data == encoded(image)
    assert only(image.convert("L")).data == encoded(image.convert("L"))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    upright = only(image, "JPEG", exif=rotated)
    assert (upright.width, upright.height) == (288, 320)
    assert Image.open(io.BytesIO(upright.data)).getexif() == {}


def test_webp_becomes_a_jpeg_that_looks_the_same() -> None:
    image = photograph(3)
    kept = only(image, "WEBP", lossless=True)
    assert kept.extension == "jpg"
    error = np.asarray(Image.open(io.BytesIO(kept.data)), np.float32) - np.asarray(image, np.float32)
    assert np.sqrt((error**2).mean()) < 3.5


def test_large_photographs_are_scaled_down() -> None:
    kept = only(photograph(4, 3200, 2000), "JPEG")
    assert (kept.width, kept.height, kept.extension) == (1600, 1000, "jpg")
    assert Image.open(io.BytesIO(kept.data)).size == (1600, 1000)


def test_tiles_cover_a_map_and_skip_what_is_empty() -> None:
    sheet = photograph(6, 900, 600)
    sheet.paste((0, 0, 90), (300, 300, 600, 600))
    found = photo_cache.photographs_of(Member("m", encoded(sheet)), Take(paths=("*",), category="satellite", tile=300))
    assert [number for number, _ in found] == [0, 1, 2, 3, 5]  # type: ignore[union-attr]


def test_greyscale_of_sixteen_bits_is_stretched() -> None:
    levels = 200 + np.asarray(photograph(9).convert("L"), np.uint16) * 3
    kept = only(Image.fromarray(levels), "TIFF")
    image = Image.open(io.BytesIO(kept.data))
    assert image.convert("L").getextrema() == (0, 255)


def look(seed: int, bits: int = 0, pixels: int = 100, series: str | None = None) -> Look:
    """A photograph whose hash differs in `bits` bits from that of the photograph `seed`."""
    flags = np.random.default_rng(seed).integers(0, 2, 256).astype(np.uint8)
    flags[:bits] ^= 1
    return Look(
        hashlib.sha256(f"{seed} {bits} {pixels}".encode()).hexdigest(), np.packbits(flags).tobytes(), pixels, series
    )


def test_copies_leave_and_similar_ones_stay_on_one_side() -> None:
    looks = [look(1), look(1, 5, pixels=400), look(1, 30), look(2), look(3, series="s"), look(4, series="s")]
    placed = place(looks)
    assert [entry.duplicate for entry in placed] == [True, False, False, False, False, False]
    groups = [entry.group for entry in placed]
    assert groups[0] == groups[1] == groups[2]
    assert groups[4] == groups[5]
    assert len(set(groups)) == 3
    assert all(entry.split == side(entry.group) for entry in placed)
    assert sorted(place(looks[::-1])) == sorted(placed)


def test_a_quarter_of_the_photographs_is_for_the_test() -> None:
    placed = place([look(seed) for seed in range(800)])
    assert len({entry.group for entry in placed}) == 800
    assert sum(entry.split == "test" for entry in placed) / 800 == pytest.approx(TEST_SHARE, abs=0.04)


def test_bit_distances() -> None:
    assert bit_distances([b"\x00\xff", b"\x01\xff", b"\xff\x00"]).tolist() == [[0, 1, 16], [1, 0, 15], [16, 15, 0]]


def test_average_hash_survives_scaling_and_compression() -> None:
    image = photograph(7, 640, 480)
    file = io.BytesIO(encoded(image.resize((320, 240), Image.Resampling.LANCZOS), "JPEG", quality=60))
    hashes = [photo_filter.average_hash(each) for each in (image, Image.open(file), photograph(8, 640, 480))]
    distances = bit_distances(hashes)
    assert distances[0, 1] <= 6
    assert distances[0, 2] > 80


def archive_of(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for number in range(count):
            archive.writestr(f"p/photo {number}.png", encoded(photograph(100 + number)))
        archive.writestr("p/drawing.png", encoded(drawing()))
    return folder / "pictures.zip"


def test_decoded_once_then_from_the_cache(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, 3)
    pinned = package(archive)
    first = photo_cache.decoded(pinned, archive, tmp_path / "decoded")
    assert [picture.file for picture in first.pictures] == ["photo-0.png", "photo-1.png", "photo-2.png"]
    assert first.left_out == {"p/drawing.png": "few colours"}
    archive.unlink()
    assert photo_cache.decoded(pinned, archive, tmp_path / "decoded") == first
    changed = pinned.model_copy(update={"leave": ("*1.png",)})
    with pytest.raises(FileNotFoundError):  # another rule: decoded anew
        photo_cache.decoded(changed, archive, tmp_path / "decoded")
    assert [path.name for path in (tmp_path / "decoded").iterdir()] == [first.folder.name]


def test_set_is_published_listed_and_mended(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, 4)
    batch = photo_cache.decoded(package(archive, name="@a/pictures"), archive, tmp_path / "decoded")
    out = tmp_path / "set"
    photographs.publish(photographs.choose([batch]), out)
    (out / "scene" / "mine.txt").write_text("not ours")
    listed = json.loads((out / "photographs.json").read_text())
    assert [entry["path"] for entry in listed] == [f"scene/a-pictures__photo-{number}.png" for number in range(4)]
    for entry in listed:
        assert hashlib.sha256((out / entry["path"]).read_bytes()).hexdigest() == entry["sha256"]
        assert (entry["package"], entry["version"], entry["licence"]) == ("@a/pictures", "1.0", "CC0-1.0")
        assert entry["redistributable"]
        assert not entry["rendered"]
    (out / listed[0]["path"]).write_bytes(b"damaged")
    photographs.publish(photographs.choose([Batch(batch.folder, batch.pictures[:2], {})]), out)
    assert sorted(path.name for path in (out / "scene").iterdir()) == [
        "a-pictures__photo-0.png",
        "a-pictures__photo-1.png",
        "mine.txt",
    ]
    assert photo_filter.digest((out / listed[0]["path"]).read_bytes()) == listed[0]["sha256"]


def test_rendered_pictures_are_marked_and_repeat(tmp_path: Path) -> None:
    picture = Picture(
        file="land-000.png",
        category="satellite",
        package="rendered",
        version="1",
        registry="rendered",
        member="land/0",
        licence="Apache-2.0",
        author=None,
        redistributable=True,
        sha256="0" * 64,
        source_sha256="0" * 64,
        width=768,
        height=768,
        series=None,
        look="",
    )
    (chosen,) = photographs.choose([Batch(tmp_path, [picture], {})])
    assert chosen.entry.rendered
    assert "rendered" in photographs.table([chosen.entry])
    for draw in (rendered_scenes.land, rendered_scenes.dead_leaves):
        once, again, other = draw(1), draw(1), draw(2)
        assert once.tobytes() == again.tobytes() != other.tobytes()
        photo_filter.check_content(once)


def test_paragraphs_of_html() -> None:
    long = "Words " * 30
    html = f"<h1>Title</h1><p>short</p><p>{long}<em>and</em>\n more</p><div class='para'>{long}</div><pre>{long}</pre>"
    assert paragraphs(html) == [f"{long}and more", long.strip()]
    assert paragraphs(f"<p>{long} Привет</p>") == []


def test_fonts_without_some_glyphs_are_left_out() -> None:
    whole = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    assert covers_alphabet(whole.read_bytes())
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert not covers_alphabet(font.font_bytes)  # a small selection of Aileron


def test_pages_of_every_layout_hold_text() -> None:
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    for seed in range(len(rendered_pages.LAYOUTS)):
        image = rendered_pages.page(seed, [font.font_bytes], ["A sentence of some words that goes on. " * 20])
        grey = np.asarray(image.convert("L"), np.int16)
        # Ink on paper: many dark strokes on a bright ground.
        assert (grey < np.median(grey) - 60).mean() > 0.005
        assert (np.abs(np.diff(grey, axis=1)) > 40).mean() > 0.003
