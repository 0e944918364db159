"""Divides a dataset into splits by source, so that no photograph and no video is in two of them."""

import hashlib
import json
import math
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fsspec import AbstractFileSystem

from fakevlm.data.dataset import Dataset
from fakevlm.data.groups import sources
from fakevlm.data.paths import LIST_FOLDER, ROOT_FILE, file_names, image_root
from fakevlm.data.record import Record
from fakevlm.errors import UserError

Stratum = tuple[str | None, int | None]
"""Category and label of records; None means all."""

_LABEL_WEIGHT = 4
"""How much the shares of a label, and of all records, count against those of one category."""


@dataclass(frozen=True)
class Split:
    """One part of a divided dataset."""

    name: str
    share: float
    """Share of the records, as asked for."""
    indices: tuple[int, ...]
    """Positions of its records among all, ascending."""
    sources: int
    """Groups of records that had to stay together."""


@dataclass(frozen=True)
class _Group:
    """Records that belong together."""

    key: str
    indices: list[int]
    strata: Counter[Stratum]


def parse_shares(text: str) -> dict[str, float]:
    """`train=0.8,val=0.1,test=0.1` as a dictionary. Raises UserError unless two or more shares sum to 1."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or re.fullmatch(r"[A-Za-z0-9][\w-]*", name) is None:
            raise UserError(f"shares: {part.strip()!r} is not NAME=SHARE, as in train=0.8,val=0.1,test=0.1")
        if name in shares:
            raise UserError(f"shares: {name} is named twice")
        try:
            shares[name] = float(number)
        except ValueError:
            raise UserError(f"shares: the share of {name} is not a number: {number!r}") from None
        if not 0 < shares[name] < 1:
            raise UserError(f"shares: the share of {name} must be above 0 and below 1, got {number}")
    if not math.isclose(total := math.fsum(shares.values()), 1.0, abs_tol=1e-6):
        raise UserError(f"shares: they sum to {total:g}, must sum to 1")
    return shares


def split_records(records: Sequence[Record], shares: dict[str, float], *, seed: int) -> list[Split]:
    """Divides the records by `shares` of each label, and of each category in it, as nearly as their sources allow.

    The result depends on the records and the seed, not on the records' order. Raises UserError when a split would be
    empty because the sources are too few.
    """
    groups = _groups(records, seed)
    totals: Counter[Stratum] = Counter()
    for group in groups:
        totals += group.strata
    counts: dict[str, Counter[Stratum]] = {name: Counter() for name in shares}
    chosen: dict[str, list[_Group]] = {name: [] for name in shares}
    for group in groups:
        name = min(shares, key=lambda name: (_cost(group, counts[name], totals, shares[name]), -shares[name], name))
        counts[name] += group.strata
        chosen[name].append(group)
    for name, own in chosen.items():
        if not own:
            raise UserError(f"shares: {name} would be empty; {len(groups):,} sources are too few for these shares")
    return [
        Split(name, shares[name], tuple(sorted(index for group in own for index in group.indices)), len(own))
        for name, own in chosen.items()
    ]


def split_files(dataset: Dataset, splits: Iterable[Split], fs: AbstractFileSystem, folder: str) -> dict[str, bytes]:
    """Path and contents of the files that make `folder` a dataset of these splits; to be written in this order.

    Image paths stay as they are. Where `folder` is not the root they count from, a file in it names that root. Raises
    UserError when the folder holds other records.
    """
    place = posixpath.join(folder, LIST_FOLDER)
    present = set(file_names(fs, place))
    if present and image_root(fs, posixpath.join(place, ROOT_FILE)) != dataset.root:
        raise UserError(f"output: {place} holds records of images in another folder; choose a new one")
    files: dict[str, bytes] = {}
    if folder != dataset.root:
        files[posixpath.join(place, ROOT_FILE)] = f"{dataset.root}\n".encode()
    for split in splits:
        lines = (json.dumps(dataset.records[index].to_json()) for index in split.indices)
        files[posixpath.join(place, f"{split.name}.json")] = ("[\n" + ",\n".join(lines) + "\n]\n").encode()
    for path, data in files.items():
        if posixpath.basename(path) in present and bytes(fs.cat_file(path)) != data:
            raise UserError(f"output: {path} exists and is another; remove it, or choose another folder or split name")
    return files


def _cost(group: _Group, counts: Counter[Stratum], totals: Counter[Stratum], share: float) -> float:
    """By how much putting `group` there raises the sum over strata of (count - target)^2 / target.

    For one record at a time that is the rule of Webster and Sainte-Laguë, which rounds shares without favouring big or
    small ones.
    """
    cost = 0.0
    for stratum, count in group.strata.items():
        target = share * totals[stratum]
        weight = _LABEL_WEIGHT if stratum[0] is None else 1
        cost += weight * count * (2 * (counts[stratum] - target) + count) / target
    return cost


def _groups(records: Sequence[Record], seed: int) -> list[_Group]:
    """Records that share a source, directly or through others; big groups first, equal ones in the seed's order.

    A big group can be made up for by many small ones that come after it, not the other way round.
    """
    joined = _Joined()
    first_ids: list[str] = []
    for record in records:
        ids = (*sources(record), f"image:{posixpath.normpath(record.image)}")
        for other in ids[1:]:
            joined.join(ids[0], other)
        first_ids.append(ids[0])
    indices: defaultdict[str, list[int]] = defaultdict(list)
    for index, first in enumerate(first_ids):
        indices[joined.root(first)].append(index)
    groups = []
    for key, own in indices.items():
        strata: Counter[Stratum] = Counter()
        for index in own:
            record = records[index]
            strata.update([(record.cate, record.label), (None, record.label), (None, None)])
        shuffled = hashlib.blake2b(f"{seed}\0{key}".encode(errors="surrogatepass"), digest_size=16).hexdigest()
        groups.append(_Group(f"{shuffled} {key}", own, strata))
    return sorted(groups, key=lambda group: (-len(group.indices), group.key))


class _Joined:
    """Disjoint sets of ids. A set is named by its least id, so that the order of joining does not matter."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def root(self, item: str) -> str:
        """The least id of the set that holds `item`."""
        while (parent := self._parents.setdefault(item, item)) != item:
            self._parents[item] = self._parents[parent]  # halves the way for the next time
            item = parent
        return item

    def join(self, one: str, other: str) -> None:
        """Makes one set of two."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parents[high] = low
