"""Checkpoints as vLLM and transformers load them, and the hash that names their weights; both kept in the cache."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.layout import INDEX, Weights, read_json, rename_file, rename_index
from fakevlm.checkpoint.location import build_once
from fakevlm.errors import UserError

_VERSION = 1
"""Part of the key of every view: raise it when views are made differently."""
_CARD = "fakevlm.json"
"""Read from the original folder, so that a new calibration does not cost a new view."""


def loadable_copy(folder: Path, weights: Weights, additions: dict[str, Any], cache: Path) -> Path:
    """Return a folder with the same checkpoint that vLLM and transformers load; `folder` itself where it does.

    vLLM 0.32 refuses the tensor names that transformers 5 saves, so a view has its weights renamed, or linked where
    only the processor's settings are completed.
    """
    if weights.hub_layout and not additions:
        return folder
    shards = {path.name for path in weights.files}
    others = [path for path in _files(folder) if path.name not in shards and path.name != _CARD]
    key = hashlib.sha256(json.dumps([_VERSION, additions, _states([*others, *weights.files])]).encode()).hexdigest()

    def build(partial: Path) -> None:
        for shard in weights.files:
            target = partial / shard.name
            target.unlink(missing_ok=True)
            if weights.hub_layout:
                target.symlink_to(shard.resolve())
            else:
                rename_file(shard, target)
        for path in others:
            if path.name == INDEX:
                rename_index(path, partial / path.name)
            elif path.suffix != ".safetensors":
                (partial / path.name).write_bytes(path.read_bytes())
        if additions:
            file = folder / "processor_config.json"
            content = {**(read_json(file) if file.exists() else {}), **additions}
            (partial / file.name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    return build_once(cache / "views" / f"{folder.name}-{key[:16]}", build)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a checkpoint that loading may need, in the order of their names."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".jinja", ".txt", ".model", ".safetensors"):
            yield path


def _states(paths: list[Path]) -> list[list[str | int]]:
    """Return for each file what changes when its content does: path, size in bytes, time in nanoseconds."""
    return [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]


def weights_sha256(weights: Weights, cache: Path) -> str:
    """Return the hash over the weight files. It is remembered, so that 14 GB are read once and not at every start."""
    key = hashlib.sha256(json.dumps(_states(list(weights.files))).encode()).hexdigest()
    memory = cache / "sha256" / key
    if memory.exists():
        return memory.read_text(encoding="ascii")
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 22))
    for path in weights.files:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial = memory.with_name(f"{key}.{os.getpid()}")
        partial.write_text(digest.hexdigest(), encoding="ascii")
        partial.replace(memory)
    except OSError as error:
        raise UserError(f"cannot write to the cache folder {cache}: {error}; set FAKEVLM_CACHE") from None
    return digest.hexdigest()
