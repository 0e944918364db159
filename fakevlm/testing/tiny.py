"""Builds the untrained stand-in models: a tiny LLaVA, and a small twin of the released FakeVLM.

Their answers are scripted, see `tiny_weights`: a verdict that depends on the image, and an explanation of 5
to 55 words.
 Run `python -m fakevlm.testing.tiny FOLDER` to write the tiny one.
"""

import sys
from pathlib import Path
from typing import Any

from fakevlm.checkpoint import layout
from fakevlm.checkpoint.checkpoint import Card, write_card
from fakevlm.testing import llava_files, tiny_tokenizer, tiny_weights
from fakevlm.testing.llava_sizes import LlavaSizes

TINY = LlavaSizes(
    hidden=128, layers=2, heads=4, mlp=256, text_tokens=1150, vocab=1152, image_size=84,
    vision_hidden=96, vision_layers=3, vision_heads=4, vision_mlp=192,
)  # fmt: skip
TWIN = LlavaSizes(
    hidden=96, layers=2, heads=3, mlp=128, text_tokens=32000, vocab=32064, image_size=336,
    vision_hidden=64, vision_layers=3, vision_heads=4, vision_mlp=128,
)  # fmt: skip


def build_tiny(path: Path, *, seed: int = 0) -> Path:
    """Write an untrained LLaVA of about a million parameters into the folder `path` and return `path`.

    84-pixel images become 36 image tokens. The layout is that of llava-1.5-7b-hf, with the processor files of today,
    and the weights are float32. Its card says that it is not trained.
    """
    _write_common(path, TINY, "float32", legacy_tokenizer=False, seed=seed)
    llava_files.write_json(path / "processor_config.json", llava_files.processor_config(TINY))
    write_card(path, Card(trained=False, description="Untrained stand-in: its verdicts mean nothing."))
    return path


def build_twin(path: Path, *, seed: int = 0) -> Path:
    """Write a small twin of the released `lingcco/fakeVLM` into the folder `path` and return `path`.

    It has the files of that checkpoint, made with transformers 4.45.2: configuration keys, tensor names, float16 shards
    with an index, token ids (`<image>` 32000, `<pad>` 32001, 32064 embeddings), 336-pixel images of 576 tokens, no card
    and no processor_config.json. Only the layers are few and narrow. Unlike that model it is not trained.
    """
    _write_common(path, TWIN, "float16", legacy_tokenizer=True, seed=seed)
    return path


def _write_common(path: Path, shape: LlavaSizes, dtype: str, *, legacy_tokenizer: bool, seed: int) -> None:
    """Write all files but the ones in which the two models differ."""
    path.mkdir(parents=True, exist_ok=True)
    vocabulary = tiny_tokenizer.write_tokenizer(path, size=shape.text_tokens, legacy=legacy_tokenizer)
    config = llava_files.write_configuration(path, shape, dtype)
    model = tiny_weights.scripted_model(config, shape, vocabulary, seed)
    _write_weights(path, model, dtype, shards=1 if dtype == "float32" else 2)


def _write_weights(path: Path, model: Any, dtype: str, *, shards: int) -> None:
    """Write the tensors under their hub names, in one file or in shards with an index."""
    import torch
    from safetensors.torch import save_file

    kind = getattr(torch, dtype)
    tensors = {layout.hub_name(name): tensor.to(kind).contiguous() for name, tensor in model.state_dict().items()}
    names = sorted(tensors)
    files = [f"model-{number:05d}-of-{shards:05d}.safetensors" for number in range(1, shards + 1)]
    placed = {name: files[i * shards // len(names)] if shards > 1 else layout.SINGLE for i, name in enumerate(names)}
    for file in set(placed.values()):
        part = {name: tensors[name] for name in names if placed[name] == file}
        save_file(part, path / file, metadata={"format": "pt"})
        (path / file).chmod(0o644)  # safetensors writes for the owner alone
    if shards == 1:
        return
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    llava_files.write_json(path / layout.INDEX, {"metadata": {"total_size": size}, "weight_map": placed})


if __name__ == "__main__":
    print(build_tiny(Path(sys.argv[1])))
