"""The folders of a run as a tree with the rows below each, of a bounded size, and which of them are worst."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.run.summary.folder_counts import Path, folder_path
from fakevlm.metrics.shrinkage import Prior, fit_prior, rough_low, shrunk_shares

COUNTS = ("real", "fake", "uncertain", "errors")
MAX_COUNTED = 300_000
"""Folders that are told apart while they are counted; of more, the deepest are counted with those that they are in."""
MAX_LISTED = 10_000
"""Folders that are listed for their rows, and as many for their share of fakes; those that they are in as well."""

TREE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int32(), nullable=False),
        pa.field("parent", pa.int32(), nullable=False),
        pa.field("last", pa.int32(), nullable=False),
        pa.field("depth", pa.int32(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
        *(pa.field(name, pa.int32(), nullable=False) for name in COUNTS),
        pa.field("own_rows", pa.int32(), nullable=False),
        pa.field("merged", pa.int32(), nullable=False),
        pa.field("share", pa.float64()),
        pa.field("shrunk", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
    ]
)
"""One row for each folder, by its id, which is its place; `last` is the last id below it. docs/report.md has more."""


class FolderCount:
    """Counts rows by the folder that they are directly in. Exact, whatever is merged: it is merged by whole levels."""

    def __init__(self) -> None:
        self._counts: dict[Path, NDArray[np.int64]] = {}
        self._depth: int | None = None

    def add(self, folders: Iterable[str], counts: Iterable[Any]) -> None:
        """Take rows by outcome, int[4], of folders as `fakescan.run.summary.folder_counts.folders_of` names them."""
        for folder, numbers in zip(folders, counts, strict=True):
            key = folder_path(folder)[: self._depth]
            there = self._counts.get(key)
            values = np.asarray(numbers, np.int64)
            self._counts[key] = values if there is None else there + values
        while len(self._counts) > MAX_COUNTED:
            self._lose_a_level()

    def _lose_a_level(self) -> None:
        self._depth = max(map(len, self._counts)) - 1
        before, self._counts = self._counts, {}
        for path, counts in before.items():
            key = path[: self._depth]
            self._counts[key] = self._counts[key] + counts if key in self._counts else counts

    def tree(self) -> "FolderTree":
        """The tree."""
        return _tree(self._counts)


@dataclass(frozen=True)
class FolderTree:
    """The folders that are listed."""

    table: pa.Table
    """`TREE_SCHEMA`."""
    ids: Mapping[Path, int]
    """By the path."""
    base: str
    """The folder that all images are below; empty where they have none in common."""
    prior: Prior
    """What shares were drawn towards."""

    @property
    def merged(self) -> int:
        """Folders that are not listed."""
        return int(pc.sum(self.table["merged"], min_count=0).as_py())

    def ids_of(self, folders: pa.Array) -> pa.Array:
        """For each row the id, int32, of its folder, or of the nearest listed one that it is in."""
        encoded = folders.dictionary_encode()
        known = pa.array([self._id(folder_path(name)) for name in encoded.dictionary.to_pylist()], pa.int32())
        return known.take(encoded.indices)

    def worst(self, count: int) -> list[dict[str, Any]]:
        """The folders that hold fakes, those with the highest lower end of their share first.

        A folder is left out whose rows are all those of one folder in it: that one is named.
        """
        table = self.table.filter(pc.and_(pc.greater(self.table["fake"], 0), pc.invert(self._has_only_child())))
        order = pc.sort_indices(table, [("low", "descending"), ("fake", "descending"), ("id", "ascending")])
        rows: list[dict[str, Any]] = table.take(order.slice(0, count)).to_pylist()
        return rows

    def _has_only_child(self) -> pa.Array:
        parents, rows = self.table["parent"].to_numpy(), self.table["rows"].to_numpy()
        only = np.zeros(len(rows), bool)
        below = parents >= 0
        only[parents[below][rows[below] == rows[parents[below]]]] = True
        return pa.array(only)

    def _id(self, path: Path) -> int:
        while path not in self.ids:
            path = path[:-1]
        return self.ids[path]


def _tree(counts: Mapping[Path, NDArray[np.int64]]) -> FolderTree:
    base = _common(counts)
    totals = _with_all_above(counts, len(base))
    paths = list(totals)
    cells = np.array([totals[path] for path in paths], np.int64).reshape(-1, len(COUNTS))
    judged = cells[:, :3].sum(axis=1)
    own = [counts[path] for path in counts]
    prior = fit_prior([int(cell[1]) for cell in own], [int(cell[:3].sum()) for cell in own])
    listed = _listed(paths, cells, rough_low(cells[:, 1], judged, prior), len(base))
    order = sorted((number for number in range(len(paths)) if paths[number] in listed), key=lambda n: paths[n])
    ids = {paths[number]: place for place, number in enumerate(order)}
    own_rows, merged = _own(counts, totals, ids)
    shares = shrunk_shares(cells[order, 1], judged[order], prior)
    names = [paths[number] for number in order]
    columns: dict[str, Any] = {
        "id": range(len(order)),
        "parent": [ids[path[:-1]] if len(path) > len(base) else -1 for path in names],
        "last": _last([len(path) for path in names]),
        "depth": [len(path) - len(base) for path in names],
        "name": [_name(path, base) for path in names],
        "path": ["/" if path == ("",) else "/".join(path) for path in names],
        "rows": cells[order].sum(axis=1),
        **{name: cells[order, number] for number, name in enumerate(COUNTS)},
        "own_rows": own_rows,
        "merged": merged,
        "share": [
            fakes / images if images else None
            for fakes, images in zip(cells[order, 1].tolist(), judged[order].tolist(), strict=True)
        ],
        "shrunk": shares.mean,
        "low": shares.low,
        "high": shares.high,
    }
    table = pa.table([pa.array(columns[field.name], field.type) for field in TREE_SCHEMA], schema=TREE_SCHEMA)
    return FolderTree(table, ids, "/" if base == ("",) else "/".join(base), prior)


def _common(paths: Iterable[Path]) -> Path:
    """The folder that all are in, or are."""
    first, last = min(paths, default=()), max(paths, default=())
    length = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


def _with_all_above(counts: Mapping[Path, NDArray[np.int64]], top: int) -> dict[Path, NDArray[np.int64]]:
    totals: dict[Path, NDArray[np.int64]] = {}
    for path, numbers in counts.items():
        for length in range(top, len(path) + 1):
            key = path[:length]
            there = totals.get(key)
            if there is None:
                totals[key] = numbers.copy()
            else:
                there += numbers
    return totals or {(): np.zeros(len(COUNTS), np.int64)}


def _listed(paths: list[Path], cells: NDArray[np.int64], low: NDArray[np.float64], top: int) -> set[Path]:
    if len(paths) <= 2 * MAX_LISTED:
        return set(paths)
    chosen = {*np.argsort(-cells.sum(axis=1), kind="stable")[:MAX_LISTED].tolist()}
    chosen |= {*np.argsort(-low, kind="stable")[:MAX_LISTED].tolist()}
    listed: set[Path] = set()
    for number in chosen:
        path = paths[number]
        while path not in listed:
            listed.add(path)
            if len(path) == top:
                break
            path = path[:-1]
    return listed


def _own(
    counts: Mapping[Path, NDArray[np.int64]], totals: Mapping[Path, Any], ids: Mapping[Path, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are in no listed folder below, and folders that are not listed, by id."""
    own_rows, merged = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
    for path in totals:
        place, nearest = path, 0
        while place not in ids:
            place = place[:-1]
        nearest = ids[place]
        merged[nearest] += place != path
        if path in counts:
            own_rows[nearest] += int(counts[path].sum())
    return own_rows, merged


def _last(depths: list[int]) -> list[int]:
    """For each folder of a preorder the last one below it."""
    last = list(range(len(depths)))
    waiting: list[int] = []
    for place, depth in enumerate([*depths, -1]):
        while waiting and depths[waiting[-1]] >= depth:
            last[waiting.pop()] = place - 1
        waiting.append(place)
    return last


def _name(path: Path, base: Path) -> str:
    if path == base:
        return "/" if base == ("",) else "/".join(base)
    return path[-1] or "/"
