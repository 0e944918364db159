"""Decodes the photographs of a package, or renders pictures, once; afterwards they come from a cache folder."""

import hashlib
import inspect
import io
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from PIL import Image
from pydantic import BaseModel, ConfigDict

from tools.small_checkpoint import photo_filter, rendered_pages, rendered_scenes, typesetting
from tools.small_checkpoint.photo_filter import Kept, NotAPhotographError
from tools.small_checkpoint.photo_sources import Member, Package, Take, members


class Picture(BaseModel):
    """One decoded picture in the cache and what is known of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    """Name in the cache folder of its package, and, after the package's name, in the set."""
    category: str
    package: str
    version: str
    registry: str
    """debian, pypi, npm, or `rendered`."""
    member: str
    """Path inside the package, for a tile with its number; for a rendered picture its kind and seed."""
    licence: str
    author: str | None
    redistributable: bool
    sha256: str
    source_sha256: str
    """Of the file in the package; all tiles of a map have the same."""
    width: int
    height: int
    series: str | None
    look: str
    """Average hash in hex; empty for rendered pictures, which are never alike."""


class Batch(NamedTuple):
    """The pictures of one package."""

    folder: Path
    pictures: list[Picture]
    left_out: dict[str, str]
    """Why, by path, other files were not taken though a rule names them."""


class _Ledger(BaseModel):
    """What stands in a finished cache folder."""

    pictures: list[Picture]
    left_out: dict[str, str]


def decoded(package: Package, archive: Path, cache: Path) -> Batch:
    """The photographs of a package, from `cache` or decoded into it."""
    settings = package.model_dump_json(exclude={"photographs"})
    folder = cache / f"{package.name.replace('/', '-')}-{_key(settings, photo_filter)}"
    return _cached(folder, lambda partial_folder: _decode_all(package, archive, partial_folder))


def _decode_all(package: Package, archive: Path, folder: Path) -> _Ledger:
    found = [
        (member, take) for member in members(archive, package) if (take := package.rule(member.path)) and take.category
    ]
    ledger = _Ledger(pictures=[], left_out={})
    slugs = Counter(_slug(member.path) for member, _ in found)
    with _pool() as pool:
        for (member, take), result in zip(found, pool.map(photographs_of, *zip(*found, strict=True)), strict=True):
            if isinstance(result, str):
                ledger.left_out[member.path] = result
                continue
            source = photo_filter.digest(member.data)
            name = _slug(member.path)
            if slugs[name] > 1:
                name += "-" + photo_filter.digest(member.path.encode())[:6]
            for number, kept in result:
                suffix = f"#{number}" if number is not None else ""
                file = f"{name}{suffix.replace('#', '-tile')}.{kept.extension}"
                (folder / file).write_bytes(kept.data)
                ledger.pictures.append(_picture(package, take, member.path + suffix, file, kept, source))
    return ledger


def _picture(package: Package, take: Take, member: str, file: str, kept: Kept, source: str) -> Picture:
    redistributable = package.redistributable if take.redistributable is None else take.redistributable
    return Picture(
        file=file,
        category=take.category or "",
        package=package.name,
        version=package.version,
        registry=package.registry,
        member=member,
        licence=take.licence or package.licence,
        author=take.author,
        redistributable=redistributable,
        sha256=photo_filter.digest(kept.data),
        source_sha256=source,
        width=kept.width,
        height=kept.height,
        series=f"{package.name}/{take.series}" if take.series else None,
        look=kept.look.hex(),
    )


def photographs_of(member: Member, take: Take) -> list[tuple[int | None, Kept]] | str:
    """The photographs in one file, with the numbers of tiles, or why there is none."""
    try:
        image = photo_filter.read(member.data)
        if take.tile:
            kept = []
            for number, tile in enumerate(photo_filter.tiles(image, take.tile)):
                try:
                    photo_filter.check_content(tile)
                except NotAPhotographError:
                    continue
                kept.append((number, photo_filter.keep(tile, None)))
            return kept or "no tile with content"
        photo_filter.check_size(image)
        if not take.checked:
            photo_filter.check_content(image)
        return [(None, photo_filter.keep(image, member.data))]
    except NotAPhotographError as error:
        return str(error)


RENDERERS: dict[str, tuple[str, int]] = {
    "page": ("doc", 160),
    "dead-leaves-scene": ("scene", 30),
    "dead-leaves-object": ("object", 30),
    "land": ("satellite", 60),
}
"""Category and number of each kind of rendered picture."""


def rendered(kind: str, fonts: Sequence[bytes], texts: Sequence[str], cache: Path) -> Batch:
    """The rendered pictures of one kind, from `cache` or rendered into it; no pages without fonts and texts."""
    content = hashlib.sha256(b"".join(fonts) + "".join(texts).encode()).hexdigest() if kind == "page" else ""
    key = _key(f"{RENDERERS[kind]}{content}", typesetting, rendered_pages, rendered_scenes)
    folder = cache / f"rendered-{kind}-{key}"
    return _cached(folder, lambda partial_folder: _render_all(kind, fonts, texts, partial_folder))


def _render_all(kind: str, fonts: Sequence[bytes], texts: Sequence[str], folder: Path) -> _Ledger:
    category, count = RENDERERS[kind]
    if kind == "page" and not (fonts and texts):
        return _Ledger(pictures=[], left_out={})
    draw: Callable[[int], Image.Image] = {
        "page": partial(rendered_pages.page, fonts=fonts, texts=texts),
        "dead-leaves-scene": rendered_scenes.dead_leaves,
        "dead-leaves-object": partial(rendered_scenes.dead_leaves, large=True),
        "land": rendered_scenes.land,
    }[kind]
    pictures = []
    with _pool() as pool:
        for seed, (data, width, height) in enumerate(pool.map(partial(_drawn, draw), range(count), chunksize=5)):
            file = f"{kind}-{seed:03d}.png"
            (folder / file).write_bytes(data)
            digest = photo_filter.digest(data)
            pictures.append(
                Picture(
                    file=file,
                    category=category,
                    package="rendered",
                    version="1",
                    registry="rendered",
                    member=f"{kind}/{seed}",
                    licence="Apache-2.0",
                    author=None,
                    redistributable=True,
                    sha256=digest,
                    source_sha256=digest,
                    width=width,
                    height=height,
                    series=None,
                    look="",
                )
            )
    return _Ledger(pictures=pictures, left_out={})


def _drawn(draw: Callable[[int], Image.Image], seed: int) -> tuple[bytes, int, int]:
    """One rendered picture as a PNG file, with its width and height."""
    image = draw(seed)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), *image.size


def _cached(folder: Path, make: Callable[[Path], _Ledger]) -> Batch:
    """What stands in `folder`, which appears only when it is complete."""
    if not (folder / "ledger.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as unfinished:
            made = Path(unfinished) / "made"
            made.mkdir()
            (made / "ledger.json").write_text(make(made).model_dump_json(indent=1))
            os.rename(made, folder)
    ledger = _Ledger.model_validate(json.loads((folder / "ledger.json").read_text()))
    return Batch(folder, ledger.pictures, ledger.left_out)


def _key(settings: str, *code: ModuleType) -> str:
    """Changes with the settings and with the code that makes the pictures."""
    sources = "".join(inspect.getsource(module) for module in code)
    return hashlib.sha256((settings + sources).encode()).hexdigest()[:12]


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0)))


def _slug(path: str) -> str:
    """A file name without its extension, of letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", Path(path.removesuffix(".gz")).stem).strip("-.") or "picture"


def prune(cache: Path, used: Iterable[Path]) -> None:
    """Remove what older versions of the lock or of the code left in the cache."""
    for folder in set(cache.iterdir()) - set(used):
        if (folder / "ledger.json").is_file():
            shutil.rmtree(folder)
