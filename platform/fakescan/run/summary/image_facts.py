"""What the images of a run are: formats, sizes, the largest and the smallest."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.settings.strict_model import StrictModel

COLUMNS = ("uri", "sha256", "format", "num_bytes", "width", "height")


class NotableImage(StrictModel):
    """The image that is the largest or the smallest in some way."""

    uri: str
    num_bytes: int | None
    width: int | None
    """In pixels, as displayed."""
    height: int | None


class ImageFacts(StrictModel):
    """The images that were fetched."""

    num_bytes: int
    """Of all of them."""
    formats: dict[str, int]
    """Images by format, most first; those that could not be decoded have none."""
    largest: NotableImage | None = None
    """By bytes."""
    smallest: NotableImage | None = None
    most_pixels: NotableImage | None = None
    fewest_pixels: NotableImage | None = None


class ImageFactsCounter:
    """Gathers the facts of a run, part by part."""

    def __init__(self) -> None:
        self._bytes = 0
        self._formats: Counter[str] = Counter()
        self._extremes: dict[str, tuple[int, NotableImage]] = {}

    def add(self, rows: pa.Table) -> None:
        """Take rows with the columns of `COLUMNS`; those without a hash were not fetched."""
        rows = rows.filter(rows["sha256"].is_valid())
        self._bytes += pc.sum(rows["num_bytes"], min_count=0).as_py()
        for item in rows["format"].drop_null().value_counts().to_pylist():
            self._formats[item["values"]] += item["counts"]
        self._compare(rows, rows["num_bytes"], "smallest", "largest")
        pixels = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
        self._compare(rows, pixels, "fewest_pixels", "most_pixels")

    def merge(self, other: "ImageFactsCounter") -> None:
        """Take what another counter has found in rows that come after these."""
        self._bytes += other._bytes
        self._formats.update(other._formats)
        for name, (value, image) in other._extremes.items():
            known = self._extremes.get(name)
            is_low = name in ("smallest", "fewest_pixels")
            if known is None or (value < known[0] if is_low else value > known[0]):
                self._extremes[name] = value, image

    def facts(self) -> ImageFacts:
        """What was found."""
        extremes = {name: image for name, (_, image) in self._extremes.items()}
        known = {"num_bytes": self._bytes, "formats": dict(self._formats.most_common())}
        return ImageFacts.model_validate({**known, **extremes})

    def _compare(self, rows: pa.Table, values: pa.ChunkedArray, low: str, high: str) -> None:
        least, most = pc.min_max(values).as_py().values()
        if least is None:
            return
        if low not in self._extremes or least < self._extremes[low][0]:
            self._extremes[low] = least, _image(rows, pc.index(values, least).as_py())
        if high not in self._extremes or most > self._extremes[high][0]:
            self._extremes[high] = most, _image(rows, pc.index(values, most).as_py())


def _image(rows: pa.Table, index: int) -> NotableImage:
    row: dict[str, Any] = rows.slice(index, 1).select(COLUMNS).to_pylist()[0]
    return NotableImage(uri=row["uri"], num_bytes=row["num_bytes"], width=row["width"], height=row["height"])
