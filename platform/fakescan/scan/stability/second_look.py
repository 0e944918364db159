"""Looks again at those images of a shard that the run's strip asks for, right after they were judged."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.isolation.child import WorkLimits
from fakescan.run.stability.columns import STRIP_NAMES, VARIANTS
from fakescan.run.stability.strip import Look, Strip, VariantScore
from fakescan.scan.stability.variants import MakeVariants, VariantMakers, content_of
from fakescan.scan.tables import RowValues
from fakescan.sources.fetch import Fetched
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.preprocess import ImageSpec

Pixels = NDArray[np.uint8]
JudgeContents = Callable[[int, Sequence[bytes], Sequence[Pixels]], tuple[list[RowValues], list[int]]]
"""Judges contents for a shard: their values, and the places of those that were known; an engine's death is counted."""

BLOCK_IMAGES = 32
"""Images whose variants are judged together, while those of the next ones are made."""


class FetchAgain(Protocol):
    """Fetches some rows of a shard once more."""

    def again(self, shard: int, row_ids: Sequence[int]) -> list[Fetched]:
        """One result per row id, in their order."""


@dataclass(frozen=True)
class SecondLookSettings:
    """What a second look takes."""

    strip: Strip
    spec: ImageSpec
    max_pixels: int
    limits: WorkLimits
    fetch: FetchAgain


@dataclass(frozen=True)
class RowLook:
    """A look, and how many variants the engine judged for it; the others were known."""

    look: Look
    judged: int


class SecondLook:
    """Called by several threads, one shard each."""

    def __init__(self, settings: SecondLookSettings, judge: JudgeContents) -> None:
        self._settings, self._judge = settings, judge
        self._makers = VariantMakers(MakeVariants(settings.spec, settings.max_pixels), settings.limits)

    @property
    def strip(self) -> Strip:
        """The run's strip."""
        return self._settings.strip

    def close(self) -> None:
        """End the processes that make variants."""
        self._makers.close()

    def columns(self, rows: int, values: Mapping[int, RowValues], looks: Mapping[int, RowLook]) -> dict[str, list[Any]]:
        """The columns of so many rows that come of looks: the strip's, the verdicts, and `variants`."""
        found: dict[str, list[Any]] = {name: [None] * rows for name in (*STRIP_NAMES, "verdict", "variants")}
        for place, one in values.items():
            found["verdict"][place] = one.verdict
            if place not in looks or one.verdict is None:
                continue
            look = looks[place].look
            found["verdict"][place] = self.strip.verdict(one.verdict, look.holds(one.verdict))
            found["variants"][place] = looks[place].judged
            for name, value in look.columns(one.verdict).items():
                found[name][place] = value
        return found

    def __call__(
        self, shard: int, table: pa.Table, pixels: Mapping[int, Pixels], values: Mapping[int, RowValues]
    ) -> dict[int, RowLook]:
        """The looks at rows of a shard, by their place in `table`, as are the images and what was judged of them."""
        keys = table["source_key"].to_pylist()
        chosen = (
            place
            for place, one in values.items()
            if one.verdict is not None and self._settings.strip.looks(keys[place], one.logit)
        )
        looks: dict[int, RowLook] = {}
        block = list(islice(chosen, BLOCK_IMAGES))
        coming = self._begin(shard, table, block)
        while block:
            made = [future.result() for future in coming]
            following = list(islice(chosen, BLOCK_IMAGES))
            coming = self._begin(shard, table, following)
            looks |= self._looks(shard, table, block, made, pixels, values)
            block = following
        return looks

    def _begin(self, shard: int, table: pa.Table, block: Sequence[int]) -> list[Future[list[Pixels | ImageError]]]:
        if not block:
            return []
        rows = table.select(["row_id", "sha256", "data"]).take(pa.array(block, pa.int64()))
        files: list[bytes | ImageError | None] = rows["data"].to_pylist()
        absent = [place for place, data in enumerate(files) if data is None]
        if absent:
            row_ids, hashes = rows["row_id"].to_pylist(), rows["sha256"].to_pylist()
            found = self._settings.fetch.again(shard, [row_ids[place] for place in absent])
            for place, fetched in zip(absent, found, strict=True):
                files[place] = _same_file(fetched, hashes[place])
        return self._makers.begin([data for data in files if data is not None])

    def _looks(
        self,
        shard: int,
        table: pa.Table,
        block: Sequence[int],
        made: Sequence[Sequence[Pixels | ImageError]],
        pixels: Mapping[int, Pixels],
        values: Mapping[int, RowValues],
    ) -> dict[int, RowLook]:
        hashes = table["sha256"].take(pa.array(block, pa.int64())).to_pylist()
        contents: list[bytes] = []
        images: list[Pixels] = []
        places: dict[tuple[int, int], int] = {}
        for row, (place, sha256, variants) in enumerate(zip(block, hashes, made, strict=True)):
            for number, image in enumerate(variants):
                # What is square is not padded: the engine need not say the same again.
                if not isinstance(image, ImageError) and not np.array_equal(image, pixels[place]):
                    places[row, number] = len(images)
                    contents.append(content_of(bytes.fromhex(sha256), number))
                    images.append(image)
        judged, known = self._judge(shard, contents, images) if images else ([], [])
        fresh = np.ones(len(images), bool)
        fresh[known] = False
        found: dict[int, RowLook] = {}
        for row, place in enumerate(block):
            results = [
                image if isinstance(image, ImageError)
                else judged[places[row, number]] if (row, number) in places
                else values[place]
                for number, image in enumerate(made[row])
            ]  # fmt: skip
            count = sum(bool(fresh[places[row, number]]) for number in range(len(results)) if (row, number) in places)
            found[place] = RowLook(_look(results, self.strip), count)
        return found


def _same_file(fetched: Fetched, sha256: str) -> bytes | ImageError:
    if fetched.data is None:
        return ImageError(fetched.error_code or ErrorCode.FETCH_FAILED, fetched.error_message or "it could not be read")
    if fetched.sha256 != sha256:
        return ImageError(ErrorCode.CHANGED, "the object is another one than the one that was judged")
    return fetched.data


def _look(results: Sequence[RowValues | ImageError], strip: Strip) -> Look:
    scores: list[VariantScore | None] = []
    reasons: dict[str, list[str]] = {}
    for variant, one in zip(VARIANTS, results, strict=True):
        if isinstance(one, RowValues) and one.verdict is not None:
            scores.append(strip.scored(one.logit))
            continue
        code, message = (one.code, one.message) if isinstance(one, ImageError) else (one.error_code, one.error_message)
        scores.append(None)
        reasons.setdefault(f"{code}: {message}", []).append(variant.name)
    note = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return Look(tuple(scores), note or None)
