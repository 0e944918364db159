"""Makes a run as a scan would have left it, of any number of rows, from a seed: folders, errors, explanations.

python benchmarks/report_run.py FOLDER --rows 1000000
"""

import argparse
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from fakescan.engine.judging_options import JudgingOptions
from fakescan.run.bulk.threads import on_threads
from fakescan.run.folder import RunFolder
from fakescan.run.identity import Identity, Selection
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile, new_run
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.sources.manifest import write_manifest
from fakescan.storage.store import Store
from fakevlm.preprocess import ImageSpec
from fakevlm.prompt import PromptSpec
from fakevlm.reading import Meaning

SHARD_ROWS = 256
PICTURES = 64
_BLOCK = 2**16
_CLUES = (
    "The fingers of the left hand melt into each other and the skin has a waxy, plastic texture.",
    "Letters on the sign are garbled, and the edges of the text bleed into the background.",
    "Shadows fall in two directions and the reflection in the window does not match.",
    "The same small patch repeats across the wall in a regular pattern of identical tiles.",
    "The eyes are not symmetric and the hair has no clear outline.",
)
_ERRORS = (
    ("not_found", "no such key"),
    ("truncated", "JPEG: image file is truncated ({} bytes not processed)"),
    ("not_an_image", "the object is not an image"),
    ("denied", "access denied"),
)
HOSTILE = (
    "<img src=x onerror=alert(1)>.jpg",
    "\"><script>alert('name')</script>.jpg",
    "\u202egpj.exe.jpg",
    "{{7*7}}${7*7}%00.jpg",
)
"""Names of files that nobody's page may obey."""


def identity(source: str) -> Identity:
    """As of a run of a trained model."""
    return Identity(
        selection=Selection(source=source),
        engine="vllm",
        dtype="bfloat16",
        weights_sha256="0" * 64,
        trained=True,
        prompt=PromptSpec(),
        image=ImageSpec(shortest_edge=336, crop=(336, 336)),
        ask=JudgingOptions(),
        max_bytes=2**26,
        max_pixels=10**8,
    )


def make_run(folder: RunFolder, images: Path, rows: int, *, seed: int = 0, folders: int = 400) -> RunFile:
    """Write a run of so many rows into `folder`. Of the images, which are below `images`, those that are flagged exist,
    and one in twenty of the others."""
    rng = np.random.default_rng(seed)
    names = _folder_names(folders)
    where = rng.integers(0, folders, rows).astype(np.int32)
    rates = np.minimum(0.6, rng.gamma(0.4, 0.08, folders))
    is_fake = rng.random(rows) < rates[where]
    logit = np.where(is_fake, rng.normal(3.0, 2.0, rows), rng.normal(-4.5, 1.6, rows)).astype(np.float32)
    uris = pa.array(_uris(images, names, where))
    info = write_manifest([pa.table({"uri": uris})], folder.fs, f"{folder.path}/manifest", source=str(images))
    run = new_run(
        identity(str(images)),
        "example/model",
        None,
        fingerprint=info.fingerprint,
        rows=rows,
        population=rows,
        shard_rows=SHARD_ROWS,
        meaning=Meaning.FULL,
    )
    folder.save(run)
    hashes = _pictures(images, uris, (logit > 0) | (np.arange(rows) % 20 == 0))
    sharding = run.sharding

    def write(shard: int) -> None:
        first, size = sharding.first(shard), sharding.size(shard)
        table = _rows(run, first, uris.slice(first, size), logit[first : first + size], hashes)
        folder.write_part(shard, part_bytes(table, sharding, shard))

    for _ in on_threads(write, range(sharding.count), threads=2):
        pass
    return run


def _folder_names(count: int) -> list[str]:
    return [f"site-{number % 20:02d}/user-{number:04d}/2026-{1 + number % 12:02d}" for number in range(count)]


def _uris(images: Path, names: list[str], where: NDArray[np.int32]) -> list[str]:
    uris = [f"{images}/{names[folder]}/{row:08d}.jpg" for row, folder in enumerate(where.tolist())]
    for number, name in enumerate(HOSTILE):
        row = number * 7 + 1
        if row < len(uris):
            uris[row] = f"{uris[row].rpartition('/')[0]}/{name.replace('/', '|')}"
    return uris


def _pictures(images: Path, uris: pa.Array, wanted: NDArray[np.bool_]) -> dict[int, str]:
    """Makes the images; returns the hashes of those that exist, by row."""
    rng = np.random.default_rng(1)
    base = images / "pictures"
    base.mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        small = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(small).resize((480, 360), Image.Resampling.BICUBIC).save(base / f"{number}.jpg", quality=85)
    digests = [hashlib.sha256((base / f"{number}.jpg").read_bytes()).hexdigest() for number in range(PICTURES)]
    rows = np.flatnonzero(wanted).tolist()
    for number, uri in enumerate(uris.filter(pa.array(wanted)).to_pylist()):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        if not os.path.exists(uri):
            os.link(base / f"{number % PICTURES}.jpg", uri)
    return {row: digests[number % PICTURES] for number, row in enumerate(rows)}


def _rows(run: RunFile, first: int, uris: pa.Array, logit: NDArray[np.float32], there: dict[int, str]) -> pa.Table:
    size = len(logit)
    row_id = np.arange(first, first + size)
    failed = row_id % 53 == 17
    score = (1 / (1 + np.exp(-logit.astype(np.float64)))).astype(np.float32)
    verdict = np.where(score >= 0.5, "fake", "real").astype(object)
    verdict[(score > 0.47) & (score < 0.5)] = "uncertain"
    number = row_id // 53 % len(_ERRORS)
    codes = [_ERRORS[n][0] if bad else None for n, bad in zip(number.tolist(), failed.tolist(), strict=True)]
    words = [
        _ERRORS[n][1].format(row % 40) if bad else None
        for n, row, bad in zip(number.tolist(), row_id.tolist(), failed.tolist(), strict=True)
    ]
    explained = [
        f"This is a fake image. {_CLUES[row % len(_CLUES)]} {_CLUES[(row // 7) % len(_CLUES)]}" if v == "fake" else None
        for row, v in zip(row_id.tolist(), verdict.tolist(), strict=True)
    ]
    hashes = [
        there.get(row) or hashlib.sha256(f"{row if row % 50 else row // 5000}".encode()).hexdigest()
        for row in row_id.tolist()
    ]
    looks = [_phash(row) for row in row_id.tolist()]
    unread = failed
    columns = {
        "row_id": pa.array(row_id, pa.int64()),
        "uri": uris,
        "sha256": pa.array(hashes, pa.string(), mask=unread),
        "width": pa.array(400 + row_id % 2000, pa.int32(), mask=unread),
        "height": pa.array(300 + row_id % 1500, pa.int32(), mask=unread),
        "format": pa.array(np.where(row_id % 9 == 0, "PNG", "JPEG").astype(object), pa.string(), mask=unread),
        "num_bytes": pa.array(20_000 + row_id * 37 % 400_000, pa.int64(), mask=unread),
        "verdict": pa.array(verdict, pa.string(), mask=failed),
        "score": pa.array(score, pa.float32(), mask=failed),
        "logit": pa.array(logit, pa.float32(), mask=failed),
        "off_script": pa.array((row_id % 101 / 150).astype(np.float32), pa.float32(), mask=failed),
        "phash": pa.array(looks, pa.string(), mask=unread),
        "explanation": pa.array(explained, pa.string(), mask=failed),
        "error_code": pa.array(codes, pa.string()),
        "error_message": pa.array(words, pa.string()),
        "model": pa.array([run.model] * size),
        "run_id": pa.array([run.run_id] * size),
        "scanned_at": pa.array(
            [datetime(2026, 11, 1 + first // SHARD_ROWS % 20, tzinfo=UTC)] * size, pa.timestamp("us", tz="UTC")
        ),
        "etag": pa.nulls(size, pa.string()),
    }
    arrays = [columns.get(field.name, pa.nulls(size, field.type)) for field in RESULT_SCHEMA]
    return pa.table(arrays, schema=RESULT_SCHEMA)


def _phash(row: int) -> str:
    """Every third image is one of a picture with many; these differ in up to 8 bits."""
    picture, changed = (row, 0) if row % 3 else (row % 3_000, row // 3_000 % 9)
    value = int.from_bytes(hashlib.sha256(f"look {picture}".encode()).digest(), "big")
    return f"{value ^ ((1 << changed) - 1):064x}"


def main() -> None:
    """Make one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folders", type=int, default=400)
    options = parser.parse_args()
    make_run(
        RunFolder(str(options.folder / "run"), Store()),
        (options.folder / "images").absolute(),
        options.rows,
        folders=options.folders,
    )


if __name__ == "__main__":
    main()
