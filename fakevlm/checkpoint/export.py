"""Writes a LLaVA's weights under the names of llava-1.5-7b-hf, in shards, without holding all of them in memory."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.layout import INDEX, SINGLE, hub_name

SHARD_BYTES = 5 * 10**9
"""Most bytes of one file."""


def write_weights(folder: Path, weights: Iterable[tuple[str, Any]], *, shard_bytes: int = SHARD_BYTES) -> str:
    """Writes named torch tensors, in any known naming, into `folder`; returns their number type, such as float32.

    Tensors are consumed one by one; at most one shard is held. Several shards get an index.
    """
    from safetensors.torch import save_file

    shards: list[Path] = []
    placed: dict[str, Path] = {}
    part: dict[str, Any] = {}
    held = total = 0
    kind = "float32"

    def flush() -> None:
        nonlocal held
        path = folder / f"part-{len(shards):05d}"
        save_file(part, path, metadata={"format": "pt"})
        path.chmod(0o644)  # safetensors writes for the owner alone
        shards.append(path)
        placed.update(dict.fromkeys(part, path))
        part.clear()
        held = 0

    for name, tensor in weights:
        size = tensor.numel() * tensor.element_size()
        if part and held + size > shard_bytes:
            flush()
        part[hub_name(name)] = tensor.contiguous()
        held += size
        total += size
        if name.endswith("lm_head.weight"):
            kind = str(tensor.dtype).removeprefix("torch.")
    flush()
    if len(shards) == 1:
        shards[0].rename(folder / SINGLE)
        return kind
    names = {path: f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number, path in enumerate(shards, 1)}
    for path, name in names.items():
        path.rename(folder / name)
    index = {"metadata": {"total_size": total}, "weight_map": {key: names[path] for key, path in placed.items()}}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return kind
