"""The hash that names a checkpoint's weights, computed once and kept in the cache."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from fakevlm.checkpoint.layout import Weights
from fakevlm.errors import UserError


def weights_sha256(weights: Weights, cache: Path) -> str:
    """The hash over the weight files. It is remembered, so that 14 GB are read once and not at every start."""
    key = hashlib.sha256(json.dumps(file_states(weights.files)).encode()).hexdigest()
    memory = cache / "sha256" / key
    if memory.exists():
        return memory.read_text(encoding="ascii")
    digest = hashlib.sha256()
    for path in weights.files:
        with path.open("rb", buffering=0) as file:
            hashlib.file_digest(file, lambda: digest)  # goes on with the digest of the files before
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial = memory.with_name(f"{key}.{os.getpid()}")
        partial.write_text(digest.hexdigest(), encoding="ascii")
        partial.replace(memory)
    except OSError as error:
        raise UserError(f"cannot write to the cache folder {cache}: {error}; set FAKEVLM_CACHE") from None
    return digest.hexdigest()


def file_states(paths: Sequence[Path]) -> list[list[str | int]]:
    """What changes for each file when its content does: path, size in bytes, time in nanoseconds."""
    return [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
