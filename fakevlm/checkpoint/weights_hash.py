"""The hashes that name a checkpoint: of its weights, computed once per node and remembered there, and of its files."""

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from fakevlm.checkpoint.cache import locked
from fakevlm.checkpoint.layout import Weights
from fakevlm.checkpoint.progress import BytesProgress, Report, Step
from fakevlm.errors import UserError, one_line

SMALL_FILES = (
    "added_tokens.json",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
)
"""Files beside the weights that change what a checkpoint says."""

_BLOCK = 2**24
_TELL_S = 0.25
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SETTLED_NS = 10**9
"""Age from which a file's times tell its next change. Two changes within one tick of the file system's clock have the
same time, so that what was read sooner may be of either."""
_WORTH_WAITING = 2**28
"""Bytes that take longer to read again than a file takes to settle."""


def weights_sha256(weights: Weights, cache: Path, *, show: bool = False, report: Report | None = None) -> str:
    """The hash over the weight files, in the order of their names.

    It is remembered in `cache`, so that 14 GB are read once on a node and not by every engine at every start: of
    processes that want it at the same time one reads, and the others wait. With `show` a large one is visible.
    """
    total = sum(path.stat().st_size for path in weights.files)
    key = _key(weights.files)
    memory = cache / "sha256" / key
    if (known := _remembered(memory, weights.files)) is not None:
        return known

    def wait() -> None:
        if report is not None:
            report(Step("waiting for another process that hashes the model"))

    try:
        for folder in (memory.parent, cache / "locks"):
            folder.mkdir(parents=True, exist_ok=True)
        with locked(cache / "locks" / f"{key}.lock", wait):
            if (known := _remembered(memory, weights.files)) is not None:
                return known
            if total >= _WORTH_WAITING:
                time.sleep(min(max(0, _changed_ns(weights.files) + _SETTLED_NS - time.time_ns()), _SETTLED_NS) / 1e9)
            began_ns = time.time_ns()
            known = _read(weights.files, total, show, report)
            if _key(weights.files) == key:
                _remember(memory, known, began_ns)
            return known
    except OSError as error:
        raise UserError(f"cannot write to the cache folder {cache}: {one_line(error)}; set FAKEVLM_CACHE") from None


def files_sha256(folder: Path) -> str:
    """The hash over what else changes a checkpoint's words: configuration, processor and tokenizer."""
    digest = hashlib.sha256()
    for name in SMALL_FILES:
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _key(paths: Sequence[Path]) -> str:
    """Names the files as they are now; whatever is written to them changes their `ctime`, which nobody can set."""
    found = [(path.resolve(), path.stat()) for path in paths]
    states = [[str(path), at.st_size, at.st_dev, at.st_ino, at.st_mtime_ns, at.st_ctime_ns] for path, at in found]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def _changed_ns(paths: Sequence[Path]) -> int:
    """When the files were last changed."""
    return max(max(path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in paths)


def _read(paths: Sequence[Path], total: int, show: bool, report: Report | None) -> str:
    digest = hashlib.sha256()
    block = memoryview(bytearray(_BLOCK))
    done, told_at = 0, 0.0
    with BytesProgress("hashing the model", total, 0, show=show and total >= _WORTH_WAITING, report=report) as progress:
        for path in paths:
            try:
                with path.open("rb", buffering=0) as file:
                    while size := file.readinto(block):
                        digest.update(block[:size])
                        done += size
                        if time.monotonic() - told_at >= _TELL_S:
                            told_at = time.monotonic()
                            progress.update(done)
            except OSError as error:
                raise UserError(f"{path} cannot be read: {one_line(error)}") from None
    return digest.hexdigest()


def _remembered(memory: Path, paths: Sequence[Path]) -> str | None:
    """The hash in the cache; None where there is none, or one of files that may have changed unseen since."""
    try:
        text = memory.read_text(encoding="ascii")
        began_ns = memory.stat().st_mtime_ns
    except (OSError, ValueError):
        return None
    settled = began_ns - _changed_ns(paths) >= _SETTLED_NS
    return text if settled and _SHA256.fullmatch(text) else None


def _remember(memory: Path, sha256: str, began_ns: int) -> None:
    """Writes the hash down with the time at which its reading began."""
    partial = memory.with_name(f"{memory.name}.{os.getpid()}")
    partial.write_text(sha256, encoding="ascii")
    os.utime(partial, ns=(began_ns, began_ns))
    partial.replace(memory)
