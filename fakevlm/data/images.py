"""Checks that the images of a dataset are there, by listing their folders, and that they decode."""

import multiprocessing
import os
import posixpath
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from fakevlm.data.contents import ImageContents, content_digest
from fakevlm.data.dataset import Dataset
from fakevlm.data.paths import is_local, path_fault
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.record import Record
from fakevlm.errors import ErrorCode, ImageError, UserError, one_line, remote_errors
from fakevlm.image_file import read_image

_IN_FLIGHT = 8
"""Images per decoding process that are fetched or decoded at the same time; they are in memory together."""


class MissingImages(NamedTuple):
    """Images of a dataset that are not there or hold no bytes."""

    problems: list[DatasetProblem]
    paths: frozenset[str]
    """Their paths."""
    versions: dict[str, str]
    """By the path of each image that is there, what changes when it does: its size, and its etag or the time and inode
    of a local file. Empty where the store tells no more than the size."""


class _File(NamedTuple):
    """What a listing says of a file."""

    size: int
    """Bytes."""
    version: str
    """See `MissingImages.versions`."""


def check_presence(dataset: Dataset) -> MissingImages:
    """Finds images that are missing or empty. One listing per folder, not a request per image.

    Image paths that leave the dataset are skipped. Raises UserError when a folder cannot be listed.
    """
    paths = {record.image: dataset.image_path(record) for record in dataset.records if path_fault(record.image) is None}
    found = _local_files(paths.values()) if is_local(dataset.fs) else _remote_files(dataset, paths.values())
    sizes = {path: file.size for path, file in found.items()}
    problems, absent = [], set()
    for number, record in zip(dataset.numbers, dataset.records, strict=True):
        path = paths.get(record.image)
        if path is None or sizes.get(path):
            continue
        absent.add(path)
        kind = ProblemKind.EMPTY if path in sizes else ProblemKind.MISSING
        message = f"{path} has no bytes" if path in sizes else f"there is no file {path}"
        problems.append(DatasetProblem(kind, message, dataset.name, number, record.image))
    return MissingImages(
        problems, frozenset(absent), {path: found[path].version for path in paths.values() if path in found}
    )


def check_decoding(
    dataset: Dataset,
    absent: Collection[str],
    *,
    max_pixels: int,
    processes: int,
    done: Callable[[], None] = lambda: None,
    contents: ImageContents | None = None,
) -> Iterator[DatasetProblem]:
    """Decodes each image once, but for those in `absent`, in `processes` processes; `done` is called after each.

    Also reports a width and height in the record that are not those of the file, in either order: some tools write
    them as stored, some as displayed; and with `contents`, which the splits of a dataset share, files that have the
    bytes of another.
    """
    records: dict[str, tuple[int, Record]] = {}
    for number, record in zip(dataset.numbers, dataset.records, strict=True):
        if path_fault(record.image) is None:
            records.setdefault(dataset.image_path(record), (number, record))
    chosen = [entry for path, entry in records.items() if path not in absent]
    with (
        _Decoders(processes, max_pixels) as decoders,
        ThreadPoolExecutor(processes * _IN_FLIGHT, initializer=_block_interrupts) as threads,
    ):
        examined = threads.map(lambda entry: _examine(dataset, decoders, *entry), chosen)
        for (number, record), (found, digest) in zip(chosen, examined, strict=True):
            if found is not None:
                yield found
            if contents is not None and digest and (same := contents.add(digest, dataset, number, record)):
                yield same
            done()


def _examine(
    dataset: Dataset, decoders: "_Decoders", number: int, record: Record
) -> tuple[DatasetProblem | None, bytes]:
    """What is wrong with the image, and the digest of its bytes; an empty one where they could not be had."""
    digest = b""
    try:
        data = dataset.read_image(record)
        digest = content_digest(data)
        width, height = decoders.size(data)
    except ImageError as error:
        return DatasetProblem(ProblemKind.IMAGE, str(error), dataset.name, number, record.image), digest
    said = (record.width, record.height)
    if None in said or said in ((width, height), (height, width)):
        return None, digest
    message = f"the record says {said[0]} x {said[1]} pixels, the file has {width} x {height}"
    return DatasetProblem(ProblemKind.SIZE, message, dataset.name, number, record.image), digest


class _Decoders:
    """A pool of processes that survives an image which kills its decoder. Use it as a context manager."""

    def __init__(self, processes: int, max_pixels: int) -> None:
        self._processes = processes
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._pool = self._new_pool(processes)

    def __enter__(self) -> "_Decoders":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def size(self, data: bytes) -> tuple[int, int]:
        """Width and height of the decoded image. Raises ImageError."""
        pool = self._pool
        try:
            return pool.submit(_size, data, self._max_pixels).result()
        except BrokenProcessPool:
            self._replace(pool)
        # One of those in flight did it, so each of them is decoded again where it can kill nothing else.
        with self._lock, self._new_pool(1) as alone:
            try:
                return alone.submit(_size, data, self._max_pixels).result()
            except BrokenProcessPool:
                raise ImageError(ErrorCode.POISON, "decoding it kills the process") from None

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is broken:
                self._pool = self._new_pool(self._processes)

    @staticmethod
    def _new_pool(processes: int) -> ProcessPoolExecutor:
        # Not forked: threads of this process may hold locks that a copy of it would wait for.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(processes, mp_context=context, initializer=_follow_parent)


def _block_interrupts() -> None:
    """Keeps Ctrl-C, which reaches the whole process group, from the processes that this thread will start."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _follow_parent() -> None:
    """Ends this process when its parent is gone: a killed one could not tell it to."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _size(data: bytes, max_pixels: int) -> tuple[int, int]:
    image = read_image(data, max_pixels=max_pixels).rgb
    return image.width, image.height


def _local_files(paths: Collection[str]) -> dict[str, _File]:
    """Every file in the folders of `paths`, by its path."""
    files: dict[str, _File] = {}
    for folder in {os.path.dirname(path) for path in paths}:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file():
                        stat = entry.stat()
                        version = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
                        files[os.path.join(folder, entry.name)] = _File(stat.st_size, version)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UserError(f"data: {folder} cannot be listed: {error.strerror}") from None
    return files


def _remote_files(dataset: Dataset, paths: Collection[str]) -> dict[str, _File]:
    """Every object below the deepest folders that hold `paths`, by its path.

    A store lists a thousand keys per request whatever their folders are, and FF++ has thousands of folders: so each
    folder directly below the root is listed with all that is in it.
    """
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        first, slash, _ = path[len(dataset.root) :].lstrip("/").partition("/")
        folders[first if slash else ""].append(posixpath.dirname(path))
    files: dict[str, _File] = {}
    for first, paths_in in folders.items():
        folder = posixpath.commonpath(paths_in)
        try:
            found = dataset.fs.find(folder, detail=True).values() if first else dataset.fs.ls(folder, detail=True)
        except FileNotFoundError:
            continue
        except remote_errors() as error:
            raise UserError(f"data: {folder} cannot be listed: {one_line(error)}") from None
        files |= {str(entry["name"]): _remote_file(entry) for entry in found if entry["type"] == "file"}
    return files


def _remote_file(entry: dict[str, Any]) -> _File:
    size = int(entry["size"] or 0)
    etag = next((entry[name] for name in ("ETag", "etag", "generation") if entry.get(name)), None)
    return _File(size, "" if etag is None else f"{size} {etag}")
