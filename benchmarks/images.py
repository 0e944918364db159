"""The benchmark's images: sizes, formats and contents as a bucket of web photographs has them, the same for a seed.

    python -m benchmarks.images FOLDER --count 100

Crops of the sample photographs, turned, stretched and grained so that no two are alike, and fields of noise with the
spectrum of photographs. Median about 100 KB, 2 % of 12 megapixels, 84 % JPEG, 8 % PNG and 8 % WebP.
"""

import argparse
import io
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

SAMPLES = Path(__file__).parents[1] / "samples" / "images"
BIG_EVERY = 50
"""One image in this many has 12 megapixels."""
BIG = (4000, 3000)
_LONG_EDGE = (900.0, 0.45)
"""Median in pixels and sigma of the lognormal distribution of the others' longer edge."""
_FORMATS = ("JPEG", "PNG", "WEBP")
_SHARES = (0.84, 0.08, 0.08)


@dataclass(frozen=True)
class ImageSet:
    """A folder of images and what is in it."""

    folder: Path
    files: tuple[Path, ...]
    bytes: int
    median_bytes: float

    def describe(self) -> dict[str, object]:
        """For the report."""
        return {
            "images": len(self.files),
            "median_kb": round(self.median_bytes / 1e3, 1),
            "mean_kb": round(self.bytes / len(self.files) / 1e3, 1),
        }


def image_set(cache: Path, count: int, *, seed: int = 0, edge: int | None = None, workers: int = 2) -> ImageSet:
    """`count` images in a folder below `cache`, made at the first call. `edge`: all JPEG with this longer edge."""
    folder = cache / f"images-{count}-{seed}-{edge or 'mixed'}"
    if not (folder / "done.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        photographs = sample_photographs()
        with ThreadPoolExecutor(workers) as pool:
            for name, data in pool.map(lambda number: make_image(number, photographs, seed, edge), range(count)):
                (folder / name).write_bytes(data)
        (folder / "done.json").write_text(json.dumps({"count": count}))
    files = tuple(sorted(path for path in folder.iterdir() if path.suffix != ".json"))
    sizes = [path.stat().st_size for path in files]
    return ImageSet(folder, files, sum(sizes), statistics.median(sizes))


def make_image(number: int, photographs: list[Image.Image], seed: int, edge: int | None) -> tuple[str, bytes]:
    """File name and contents of one image; depends on its number and the seed alone."""
    draw = np.random.default_rng((seed, number))
    width, height = _size(number, draw, edge)
    if draw.random() < 0.8:
        image = _crop(photographs[int(draw.integers(len(photographs)))], width, height, draw)
    else:
        image = _noise(width, height, draw)
    kind = "JPEG" if edge or (width, height) == BIG else str(draw.choice(_FORMATS, p=_SHARES))
    grained = _grain(image, 1.0 if kind == "PNG" else 4.0, draw)
    sink = io.BytesIO()
    if kind == "PNG":
        grained.save(sink, kind, compress_level=3)
    else:
        grained.save(sink, kind, quality=int(draw.integers(80, 93)))
    return f"{number:06d}.{ {'JPEG': 'jpg'}.get(kind, kind.lower()) }", sink.getvalue()


def sample_photographs() -> list[Image.Image]:
    """The photographs of samples/images, upright and RGB."""
    paths = sorted(path for path in SAMPLES.iterdir() if path.suffix in {".jpg", ".webp", ".png", ".tif"})
    return [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in paths]


def _size(number: int, draw: np.random.Generator, edge: int | None) -> tuple[int, int]:
    if edge is None and number % BIG_EVERY == BIG_EVERY - 1:
        return BIG
    median, sigma = _LONG_EDGE
    long = edge or int(np.clip(median * np.exp(sigma * draw.standard_normal()), 160, 2600))
    short = int(long / draw.choice([1.0, 4 / 3, 3 / 2, 16 / 9]))
    return (long, short) if draw.random() < 0.7 else (short, long)


def _crop(photograph: Image.Image, width: int, height: int, draw: np.random.Generator) -> Image.Image:
    scale = draw.uniform(0.5, 1.0) * min(photograph.width / width, photograph.height / height)
    left = draw.uniform(0, photograph.width - scale * width)
    top = draw.uniform(0, photograph.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    image = photograph.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return ImageOps.mirror(image) if draw.random() < 0.5 else image


def _noise(width: int, height: int, draw: np.random.Generator) -> Image.Image:
    """Octaves of noise added up: the 1/f spectrum of photographs."""
    total: npt.NDArray[np.float32] = np.zeros((height, width, 3), np.float32)
    cells = 3
    while cells < min(width, height):
        coarse = draw.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        total += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)) / cells
        cells *= 2
    total -= total.min()
    return Image.fromarray((total * (255 / total.max())).astype(np.uint8))


def _grain(image: Image.Image, strength: float, draw: np.random.Generator) -> Image.Image:
    tile = draw.normal(0.0, strength, (256, 256, 1)).astype(np.int16)
    rows, columns = -(-image.height // 256), -(-image.width // 256)
    grain = np.tile(tile, (rows, columns, 1))[: image.height, : image.width]
    return Image.fromarray(np.clip(np.asarray(image, np.int16) + grain, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    print(image_set(arguments.folder, arguments.count).describe())
