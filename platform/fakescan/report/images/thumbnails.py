"""Makes the small images of a report: fetched with the user's credentials, decoded in processes of their own."""

import io
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fakescan.isolation.child import TIMEOUT_S, Child, Death, WorkLimits, alone
from fakescan.isolation.time_limit import Timed
from fakescan.report.images.source_images import SourceImages, WantedImage
from fakescan.report.rows import schema as layout
from fakescan.report.rows.rows_files import CHOSEN_SCHEMA, KEY
from fakescan.report.rows.schema import THUMBS_SCHEMA, write_thumbs
from fakescan.run.folder import RunFolder
from fakescan.sources.fetch import Fetched
from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.url import redact
from fakevlm.errors import ErrorCode, ImageError, one_line
from fakevlm.image_file import read_image

SIDE = 192
"""Pixels of the longer side."""
QUALITY = 75
_BLOCK_IMAGES = 64
"""Images that are fetched together; and without one that could be had, the store is asked for no more."""
_BLOCK_BYTES = 64 * 2**20
"""Of files that are in memory together."""
_DECODERS = 4
_STORE_FAULTS = frozenset({str(ErrorCode.FETCH_FAILED), str(ErrorCode.DENIED)})
"""Errors that are the store's or the credentials', and may be gone at the next call."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG, and its size in pixels."""

    data: bytes
    width: int
    height: int


@dataclass(frozen=True)
class MakeThumbnail:
    """From the bytes of an image file to a small JPEG without any metadata. Pickles."""

    max_pixels: int
    side: int = SIDE

    def __call__(self, data: bytes) -> Thumbnail | ImageError:
        """The thumbnail, or why there is none."""
        try:
            image = read_image(data, max_pixels=self.max_pixels).rgb
            image.thumbnail((self.side, self.side), Image.Resampling.LANCZOS, reducing_gap=3.0)
            sink = io.BytesIO()
            image.save(sink, "JPEG", quality=QUALITY, optimize=True)
            return Thumbnail(sink.getvalue(), image.width, image.height)
        except ImageError as error:
            return error
        except (MemoryError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a decoder may raise anything
            return ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"{type(error).__name__}: {one_line(error)}")


class ThumbnailMakers:
    """Some processes that make thumbnails. A context manager; for several threads."""

    def __init__(self, *, max_pixels: int, max_bytes: int, processes: int | None = None) -> None:
        limits = WorkLimits.of(TIMEOUT_S, None, max_pixels=max_pixels, max_bytes=max_bytes)
        count = processes or max(1, min(_DECODERS, len(os.sched_getaffinity(0))))
        self._idle: SimpleQueue[Child[bytes, Thumbnail | ImageError]] = SimpleQueue()
        self._children = [
            Child(Timed(MakeThumbnail(max_pixels), limits.timeout_s), limits, show=False) for _ in range(count)
        ]
        for child in self._children:
            self._idle.put(child)

    def __enter__(self) -> "ThumbnailMakers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        for child in self._children:
            child.close()

    @property
    def count(self) -> int:
        """Processes."""
        return len(self._children)

    def make(self, found: Fetched) -> Thumbnail | ImageError:
        """The thumbnail of a fetched image, or why there is none."""
        if found.data is None:
            return ImageError(found.error_code or ErrorCode.FETCH_FAILED, found.error_message or "")
        child = self._idle.get()
        try:
            outcome = alone(child, found.data)
        finally:
            self._idle.put(child)
        if isinstance(outcome, Death):
            return ImageError(ErrorCode.POISON, outcome.message("decoding"))
        return outcome


@dataclass(frozen=True)
class WriteThumbs:
    """Writes a file of thumbnails; returns how many there are, and how many could not be made."""

    target: RunFolder
    data: str
    digest: str
    images: SourceImages

    def __call__(self, work: tuple[int, pa.Table]) -> tuple[int, int]:
        """`work`: the file's number, and its rows as `CHOSEN_SCHEMA` has them."""
        number, chosen = work
        path = f"{self.target.path}/{self.data}/{thumbs_name(number)}"
        there = _written(self.target, path)
        if there is not None:
            return there
        identity = self.images.run.identity
        made: list[Thumbnail | ImageError] = []
        makers = _makers(identity.max_pixels, identity.max_bytes)
        with ThreadPoolExecutor(makers.count, thread_name_prefix="fakescan-thumbs") as pool:
            failed: list[ImageError] = []
            for block in _blocks(chosen):
                if len(failed) >= _BLOCK_IMAGES:  # nobody answers: to wait for each image would take hours
                    made += failed[-1:] * block.num_rows
                    continue
                results = list(pool.map(makers.make, self.images.fetch(_wanted(block))))
                made += results
                faults = [one for one in results if isinstance(one, ImageError) and one.code in _STORE_FAULTS]
                failed = [*failed, *faults] if len(faults) == len(results) else []
        sink = pa.BufferOutputStream()
        write_thumbs(_table(chosen, made), sink, {KEY: self.digest})
        put_atomic(self.target.fs, path, sink.getvalue().to_pybytes())
        return len(made), sum(isinstance(one, ImageError) for one in made)


_lock = threading.Lock()
_made: dict[tuple[int, int, int], ThumbnailMakers] = {}


def _makers(max_pixels: int, max_bytes: int) -> ThumbnailMakers:
    """This process's makers: a process for one image takes a second to start."""
    key = os.getpid(), max_pixels, max_bytes
    with _lock:
        if key not in _made:
            _made[key] = ThumbnailMakers(max_pixels=max_pixels, max_bytes=max_bytes)
        return _made[key]


def end_makers() -> None:
    """End the processes that `WriteThumbs` has started from this one."""
    with _lock:
        while _made:
            _made.popitem()[1].close()


def thumbs_name(number: int) -> str:
    """File name of some thumbnails."""
    return f"thumbs-{number:05d}.parquet"


def thumbs_work(target: RunFolder, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """The work for each file of thumbnails, from the lists at these paths."""
    waiting = CHOSEN_SCHEMA.empty_table()
    number = 0
    for name in names:
        with pa.ipc.open_file(pa.BufferReader(read_bytes(target.fs, name))) as file:
            waiting = pa.concat_tables([waiting, file.read_all()])
        while waiting.num_rows >= layout.THUMBS_PER_FILE:
            yield number, waiting.slice(0, layout.THUMBS_PER_FILE)
            waiting, number = waiting.slice(layout.THUMBS_PER_FILE), number + 1
    if waiting.num_rows:
        yield number, waiting


def _written(target: RunFolder, path: str) -> tuple[int, int] | None:
    """What a file holds that an earlier call has written; None where it is to be written (again)."""
    try:
        data = read_bytes(target.fs, path)
        codes = pq.read_table(pa.BufferReader(data), columns=["error_code"])["error_code"]
    except (FileNotFoundError, pa.ArrowException):
        return None
    if _STORE_FAULTS & set(codes.unique().to_pylist()):
        return None
    return len(codes), len(codes) - codes.null_count


def _blocks(chosen: pa.Table) -> Iterator[pa.Table]:
    sizes = chosen["num_bytes"].fill_null(0).to_numpy()
    first = 0
    while first < len(sizes):
        within = np.searchsorted(np.cumsum(sizes[first : first + _BLOCK_IMAGES]), _BLOCK_BYTES)
        count = max(1, min(int(within), _BLOCK_IMAGES, len(sizes) - first))
        yield chosen.slice(first, count)
        first += count


def _wanted(block: pa.Table) -> list[WantedImage]:
    columns = (block[name].to_pylist() for name in ("row_id", "etag", "sha256"))
    return [WantedImage(*row) for row in zip(*columns, strict=True)]


def _table(chosen: pa.Table, made: Sequence[Thumbnail | ImageError]) -> pa.Table:
    names = [redact(uri).rpartition("/")[2] for uri in chosen["uri"].to_pylist()]
    errors = [one if isinstance(one, ImageError) else None for one in made]
    thumbs = [one if isinstance(one, Thumbnail) else None for one in made]
    images = [{"bytes": one.data if one else None, "path": name} for one, name in zip(thumbs, names, strict=True)]
    columns: dict[str, Any] = {
        **{name: chosen[name] for name in CHOSEN_SCHEMA.names if name in THUMBS_SCHEMA.names},
        "image": pa.array(images, THUMBS_SCHEMA.field("image").type),
        "width": pa.array([one.width if one else None for one in thumbs], pa.int32()),
        "height": pa.array([one.height if one else None for one in thumbs], pa.int32()),
        "error_code": pa.array([str(one.code) if one else None for one in errors], pa.string()),
        "error_message": pa.array([one.message if one else None for one in errors], pa.string()),
    }
    return pa.table([columns[name] for name in THUMBS_SCHEMA.names], schema=THUMBS_SCHEMA)
