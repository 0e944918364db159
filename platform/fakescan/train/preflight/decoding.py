"""Decodes the images of a dataset before anything is learnt from them, each once until it changes."""

import hashlib
import logging
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import PIL

from fakescan.storage.url import redact
from fakescan.terminal.counting import Counting
from fakescan.train.feed import MAX_PIXELS
from fakevlm.checkpoint.cache import cache_folder
from fakevlm.data.dataset import Dataset
from fakevlm.data.images import check_decoding
from fakevlm.data.problem import ProblemKind
from fakevlm.errors import ErrorCode, UserError, one_line

logger = logging.getLogger(__name__)

_CHUNK = 5_000
"""Images whose results are remembered together: what an interrupted check has to do again."""
_PER_PROCESS = 64
"""Images from which another process is worth its start."""


def undecodable(dataset: Dataset, versions: dict[str, str], left_out: Collection[str]) -> dict[str, str]:
    """Images that cannot be decoded, with the reason, but for those of records that are left out anyhow.

    `versions` is what a listing says of each path (`MissingImages.versions`): what decoded before, and is the same, is
    not decoded again. Raises UserError where images cannot be fetched, which says nothing of them.
    """
    memory = _Memory(dataset)
    waiting: dict[str, int] = {}
    for position, record in enumerate(dataset.records):
        path = dataset.image_path(record) if record.image not in left_out else None
        if path in versions and path not in waiting and not memory.knows(path, versions[path]):
            waiting[path] = position
    bad: dict[str, str] = {}
    paths = list(waiting)
    if not paths:
        return bad
    with Counting(f"{dataset.name}: decoding", len(paths)) as counting:
        for first in range(0, len(paths), _CHUNK):
            chunk = paths[first : first + _CHUNK]
            chosen = [waiting[path] for path in chunk]
            part = replace(
                dataset,
                records=tuple(dataset.records[position] for position in chosen),
                numbers=tuple(dataset.numbers[position] for position in chosen),
            )
            found: dict[str, str] = {}
            for problem in check_decoding(
                part, (), max_pixels=MAX_PIXELS, processes=_processes(len(chunk)), done=counting.one_more
            ):
                if problem.kind is ProblemKind.IMAGE and problem.image is not None:
                    if problem.message.startswith(f"{ErrorCode.FETCH_FAILED}:"):
                        raise UserError(f"data: {problem}")
                    found[problem.image] = problem.message
            bad |= found
            good = [path for path, record in zip(chunk, part.records, strict=True) if record.image not in found]
            memory.add({path: versions[path] for path in good})
    return bad


def _processes(images: int) -> int:
    return max(1, min(len(os.sched_getaffinity(0)), images // _PER_PROCESS))


class _Memory:
    """Images of a dataset that have been decoded, in a file of the cache folder: a hash for each and its version."""

    def __init__(self, dataset: Dataset) -> None:
        name = hashlib.sha256(f"{dataset.fs.protocol} {dataset.root}".encode(errors="surrogateescape")).hexdigest()[:32]
        self._file: Path = cache_folder() / "decoded" / name
        try:
            self._known = frozenset(self._file.read_bytes().split(b"\n"))
        except OSError:
            self._known = frozenset()

    def knows(self, path: str, version: str) -> bool:
        """Whether this version of an image was decoded before."""
        return bool(version) and _line(path, version) in self._known

    def add(self, versions: dict[str, str]) -> None:
        """Note images that have been decoded; what a store does not tell versions of is decoded every time."""
        lines = [_line(path, version) for path, version in versions.items() if version]
        if not lines:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:  # another training may do the same
                file.write(b"\n" + b"\n".join(lines) + b"\n")
        except OSError as error:
            logger.warning(
                "%s cannot be written, so the images are decoded again next time: %s",
                redact(str(self._file)),
                one_line(error),
            )


def _line(path: str, version: str) -> bytes:
    text = f"{PIL.__version__} {MAX_PIXELS} {path} {version}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32].encode()
