"""Full images and thumbnails of rows for the page, read with the user's credentials when somebody looks at them."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from fakescan.isolation.child import TIMEOUT_S, Child, Death, WorkLimits, alone
from fakescan.isolation.time_limit import Timed
from fakescan.report.images.source_images import SourceImages, WantedImage
from fakescan.report.images.thumbnails import MakeThumbnail, Thumbnail, ThumbnailMakers
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.sources.fetch import Fetched
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file.signature import identify

FULL_SIDE = 4096
"""Pixels of the longer side of an image that is sent as JPEG because browsers do not know its format."""
_SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
"""Formats that every browser shows."""
_PARTS = 64
_THUMBS = 4096
_COLUMNS = ("row_id", "sha256", "etag")


@dataclass(frozen=True, slots=True)
class ServedImage:
    """The bytes of an image, and their media type."""

    data: bytes
    media_type: str


class RowImages:
    """The images of a run's rows. A context manager; its calls block, and may come from several threads."""

    def __init__(self, folder: RunFolder, run: RunFile, store: Store) -> None:
        self._folder, self._run = folder, run
        self._source = SourceImages(folder, run, store)
        limits = run.identity.max_pixels, run.identity.max_bytes
        self._makers = ThumbnailMakers(max_pixels=limits[0], max_bytes=limits[1], processes=2)
        work = WorkLimits.of(TIMEOUT_S, None, max_pixels=limits[0], max_bytes=limits[1])
        self._full = Child(Timed(MakeThumbnail(limits[0], FULL_SIDE), work.timeout_s), work, show=False)
        self._full_lock = threading.Lock()
        self._lock = threading.Lock()
        self._parts: OrderedDict[int, dict[int, dict[str, Any]]] = OrderedDict()
        self._thumbs: OrderedDict[int, bytes] = OrderedDict()

    def __enter__(self) -> "RowImages":
        return self

    def __exit__(self, *_: object) -> None:
        self._makers.close()
        self._full.close()

    def full(self, row_id: int) -> ServedImage | ImageError:
        """The image of a row as it is, or where browsers do not know its format as JPEG."""
        found = self._fetched(row_id)
        if found.data is None:
            return _error(found)
        try:
            kind = identify(found.data)
        except ImageError as error:
            return error
        if kind in _SHOWN:
            return ServedImage(found.data, _SHOWN[kind])
        with self._full_lock:
            outcome = alone(self._full, found.data)
        if isinstance(outcome, Death):
            return ImageError(ErrorCode.POISON, outcome.message("decoding"))
        return ServedImage(outcome.data, "image/jpeg") if isinstance(outcome, Thumbnail) else outcome

    def thumb(self, row_id: int) -> ServedImage | ImageError:
        """A small JPEG of a row's image; some are kept in memory."""
        with self._lock:
            known = self._thumbs.get(row_id)
            if known is not None:
                self._thumbs.move_to_end(row_id)
                return ServedImage(known, "image/jpeg")
        made = self._makers.make(self._fetched(row_id))
        if isinstance(made, ImageError):
            return made
        with self._lock:
            self._thumbs[row_id] = made.data
            if len(self._thumbs) > _THUMBS:
                self._thumbs.popitem(last=False)
        return ServedImage(made.data, "image/jpeg")

    def _fetched(self, row_id: int) -> Fetched:
        row = self._row(row_id)
        if row is None:
            return Fetched(error_code=ErrorCode.NOT_FOUND, error_message="the run has no such row")
        sha256 = row["sha256"]
        wanted = WantedImage(row_id, row["etag"], bytes.fromhex(sha256) if sha256 else None)
        return self._source.fetch([wanted])[0]

    def _row(self, row_id: int) -> dict[str, Any] | None:
        if not 0 <= row_id < self._run.rows:
            return None
        shard = self._run.sharding.of(row_id)
        with self._lock:
            rows = self._parts.get(shard)
        if rows is None:
            table = self._folder.read_part(shard)
            if table is None:
                return None
            names = [name for name in _COLUMNS if name in table.column_names]
            rows = {row["row_id"]: {"etag": None, **row} for row in table.select(names).to_pylist()}
            with self._lock:
                self._parts[shard] = rows
                if len(self._parts) > _PARTS:
                    self._parts.popitem(last=False)
        return rows.get(row_id)


def _error(found: Fetched) -> ImageError:
    return ImageError(found.error_code or ErrorCode.FETCH_FAILED, found.error_message or "it cannot be read")
