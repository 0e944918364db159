"""Which rows of a run are one picture, and how many pictures there are: what duplicates, report and prevalence share.

hashes = RowHashes()
hashes.take(rows)  # of each part
pictures = hashes.pictures()
pictures.ids, pictures.counts().pictures["fake"]
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.run.summary.outcomes import ERROR, OUTCOMES, outcome_numbers
from fakevlm.near_duplicates import LIMIT
from fakevlm.near_duplicates.clusters import picture_clusters
from fakevlm.near_duplicates.phash import BITS

COLUMNS = ("row_id", "sha256", "verdict", "phash")
"""What `RowHashes.take` needs of rows."""
_BYTES = BITS // 8


@dataclass
class PictureCounts:
    """Images and pictures."""

    images: dict[str, int] = field(default_factory=dict)
    """Images by verdict."""
    pictures: dict[str, int] = field(default_factory=dict)
    """Pictures that have an image with this verdict."""
    total: int = 0
    """Pictures in all."""
    mixed: int = 0
    """Those whose images have different verdicts."""
    blank: int = 0
    """Images without a perceptual hash: only those with the same bytes are one picture."""


@dataclass(frozen=True)
class RunPictures:
    """The pictures of all rows with a verdict."""

    rows: NDArray[np.int64]
    """Ids of these rows, ascending."""
    firsts: NDArray[np.int64]
    """For each of them the place, among them, of the first one of its picture."""
    outcomes: NDArray[np.int8]
    """The verdict of each, by its number in `OUTCOMES`."""
    blank: int = 0
    """Rows without a perceptual hash."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """The picture of each: the id of its first row."""
        return self.rows[self.firsts]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Images of the picture whose first row is at a place; 0 at the places of others."""
        return np.bincount(self.firsts, minlength=len(self.firsts)).astype(np.int64)

    def places(self, row_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The places of rows, and whether they have a verdict; the place means nothing where they have none."""
        places = np.searchsorted(self.rows, row_ids).clip(0, max(0, len(self.rows) - 1)).astype(np.int64)
        there = self.rows[places] == row_ids if len(self.rows) else np.zeros(len(row_ids), bool)
        return places, there

    def largest(self, count: int) -> NDArray[np.int64]:
        """Places of the first rows of the pictures with most images, those with a single one left out."""
        order = np.argsort(-self.sizes, kind="stable")[:count]
        return order[self.sizes[order] > 1]

    def counts(self) -> PictureCounts:
        """How many there are."""
        found = PictureCounts(blank=self.blank)
        verdicts = np.zeros(len(self.rows), np.int8)
        for number, name in enumerate(OUTCOMES[:ERROR]):
            firsts = self.firsts[self.outcomes == number]
            if len(firsts):
                found.images[name] = len(firsts)
                firsts = np.unique(firsts)
                found.pictures[name] = len(firsts)
                verdicts[firsts] += 1
        found.total, found.mixed = int((verdicts > 0).sum()), int((verdicts > 1).sum())
        return found


class RowHashes:
    """Collects the perceptual hashes of rows, part after part. 42 bytes for each row with a verdict."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.int64]] = []
        self._outcomes: list[NDArray[np.int8]] = []
        self._hashes: list[NDArray[np.uint8]] = []
        self._blank: list[NDArray[np.bool_]] = []
        self.errors = 0
        """Rows without a verdict."""

    def take(self, rows: pa.Table) -> None:
        """Take rows with `COLUMNS`, which come after all that were taken; `sha256` in hex or as bytes."""
        outcomes = outcome_numbers(rows["verdict"])
        judged = np.flatnonzero(outcomes != ERROR)
        self.errors += rows.num_rows - len(judged)
        judged = judged[np.argsort(rows["row_id"].to_numpy()[judged], kind="stable")]
        rows = rows.select(COLUMNS).take(pa.array(judged))
        self._rows.append(rows["row_id"].to_numpy())
        self._outcomes.append(outcomes[judged].astype(np.int8))
        is_blank = rows["phash"].is_null().to_numpy()
        self._blank.append(is_blank)
        hashes = np.empty((len(judged), _BYTES), np.uint8)
        hashes[~is_blank] = _bytes(rows["phash"].filter(pa.array(~is_blank)))
        hashes[is_blank] = _bytes(rows["sha256"].filter(pa.array(is_blank)))
        self._hashes.append(hashes)

    def pictures(self, limit: int = LIMIT, *, on_table: Callable[[int], None] = lambda _: None) -> RunPictures:
        """What was taken as pictures; gives up the hashes. Images without a hash are one where their bytes are."""
        rows = np.concatenate([np.zeros(0, np.int64), *self._rows])
        hashes = np.concatenate([np.zeros((0, _BYTES), np.uint8), *self._hashes])
        is_blank = np.concatenate([np.zeros(0, bool), *self._blank])
        outcomes = np.concatenate([np.zeros(0, np.int8), *self._outcomes])
        self._rows, self._hashes, self._blank, self._outcomes = [], [], [], []
        firsts = np.empty(len(rows), np.int64)
        seen, blank = np.flatnonzero(~is_blank), np.flatnonzero(is_blank)
        if len(blank):
            firsts[blank] = blank[picture_clusters(hashes[blank], 0)]
            hashes = hashes[seen]
        firsts[seen] = seen[picture_clusters(hashes, limit, on_table=on_table)]
        return RunPictures(rows, firsts, outcomes, len(blank))


def _bytes(hashes: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Hashes in hex or as bytes as uint8[n, 32]."""
    values = hashes.to_pylist()
    data = b"".join(values) if pa.types.is_fixed_size_binary(hashes.type) else bytes.fromhex("".join(values))
    return np.frombuffer(data, np.uint8).reshape(-1, _BYTES)
