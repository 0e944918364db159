"""The photographs of a folder: what each shows, which split it belongs to, and a fingerprint of them all."""

import hashlib
import posixpath
from typing import NamedTuple

import numpy as np

from fakescan.forge.config import ForgeConfig
from fakescan.sources.filters.name_filter import IMAGE_EXTENSIONS
from fakescan.storage.objects import patiently
from fakescan.storage.preflight import check_readable
from fakescan.storage.url import redact
from fakevlm.data.record import CATEGORIES
from fakevlm.errors import UserError


class Photograph(NamedTuple):
    """One file of the folder."""

    path: str
    """Relative to the folder, with `/`."""
    size: int
    """In bytes."""
    category: str
    split: str

    def generator(self, seed: int, *numbers: int) -> np.random.Generator:
        """A random generator of this photograph's own, whatever else is in the folder and whichever worker asks."""
        key = np.frombuffer(_digest(seed, self.path), np.uint32)
        return np.random.default_rng([*(int(word) for word in key), *numbers])


class Photographs(NamedTuple):
    """All photographs of a folder, sorted by path."""

    items: tuple[Photograph, ...]
    fingerprint: str
    """Changes when a file is added, removed, renamed or of another size."""


def find_photographs(config: ForgeConfig) -> Photographs:
    """List the folder. Raises UserError when it cannot be read, holds no images, or images that are labelled fake."""
    files = _files(config)
    shown = redact(config.photographs)
    if not files:
        raise UserError(
            f"photographs: {shown} holds no images ({', '.join(sorted(IMAGE_EXTENSIONS))}); name another folder"
        )
    for path in files:
        if not path.isprintable():
            raise UserError(f"photographs: the name {path!r} cannot be stored in a dataset; rename the file")
        if "fake" in path.lower().split("/")[:-1]:
            raise UserError(f"photographs: {path} of {shown} is in a folder named fake; name a folder of real ones")
    paths = sorted(files)
    categories = {path: _category(path, config.category) for path in paths}
    splits = _splits(categories, config)
    items = tuple(Photograph(path, files[path], categories[path], splits[path]) for path in paths)
    listing = "\n".join(f"{item.path}\0{item.size}" for item in items)
    fingerprint = hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()
    return Photographs(items, fingerprint)


def _files(config: ForgeConfig) -> dict[str, int]:
    """Size in bytes by relative path of every image file, without hidden ones and those of the output."""
    check_readable(config.photographs, config.input_store)
    fs, root = config.input_store.filesystem(config.photographs)
    _, output = config.output_store.filesystem(config.output)
    entries = patiently(lambda: fs.find(root, detail=True), f"listing {redact(config.photographs)}")
    files = {}
    for path, info in entries.items():
        name = posixpath.relpath(path, root)
        hidden = any(part.startswith(".") for part in name.split("/"))
        if not hidden and not path.startswith(f"{output}/") and name.lower().endswith(IMAGE_EXTENSIONS):
            files[name] = int(info.get("size") or 0)
    return files


def _category(path: str, other: str) -> str:
    top, slash, _ = path.partition("/")
    return top.lower() if slash and top.lower() in CATEGORIES else other


def _splits(categories: dict[str, str], config: ForgeConfig) -> dict[str, str]:
    """The split of each path: in every category, and in all, as near to the shares as whole photographs allow."""
    order = sorted(categories, key=lambda path: (categories[path], _digest(config.seed, path)))
    counts = dict.fromkeys(config.shares, 0)
    splits = {}
    for number, path in enumerate(order, 1):
        splits[path] = max(counts, key=lambda name: config.shares[name] * number - counts[name])
        counts[splits[path]] += 1
    for name, count in counts.items():
        if not count:
            raise UserError(f"split_shares: {name} would be empty; {len(order)} photographs are too few for it")
    return splits


def _digest(seed: int, path: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{path}".encode("utf-8", "surrogateescape")).digest()
