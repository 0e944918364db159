"""Copies of checkpoints that vLLM and transformers load where they would refuse the original; kept in the cache."""

import hashlib
import json
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.cache import build_once
from fakevlm.checkpoint.card import CARD
from fakevlm.checkpoint.config_files import read_processor_config
from fakevlm.checkpoint.layout import INDEX, Weights, rename_file, rename_index
from fakevlm.checkpoint.progress import Report, Step

_VERSION = 2
"""Part of the key of every view: raise it when views are made differently."""


def loadable_copy(
    folder: Path,
    weights: Weights,
    weights_sha256: str,
    additions: dict[str, Any],
    cache: Path,
    report: Report | None = None,
) -> Path:
    """A folder with the same checkpoint that vLLM and transformers load; `folder` itself where it does.

    vLLM 0.32 refuses the tensor names that transformers 5 saves, so a view has its weights renamed, or linked where
    only the processor's settings are completed.
    """
    if weights.hub_layout and not additions:
        return folder
    # The card is read from the original folder, so that a new calibration does not cost a new view.
    left_out = {CARD, *(path.name for path in weights.files)}
    suffixes = (".json", ".jinja", ".txt", ".model", ".safetensors")  # of files that loading may need
    paths = (path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in suffixes)
    others = [path for path in paths if path.name not in left_out]
    contents = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in others]
    state = [_VERSION, str(folder), additions, contents, weights_sha256]
    key = hashlib.sha256(json.dumps(state).encode()).hexdigest()

    def tell(what: str) -> None:
        if report is not None:
            report(Step(what))

    def build(partial: Path) -> None:
        tell("converting the model")
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
            content = {**read_processor_config(folder), **additions}
            file = partial / "processor_config.json"
            file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def wait() -> None:
        tell("waiting for another process that converts the model")

    return build_once(cache / "views" / f"{folder.name}-{key[:16]}", build, wait)
