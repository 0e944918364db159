"""The one place that knows how the tensors of a LLaVA are named, and what a weights file looks like inside."""

import json
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.config_files import read_json, text_config, vision_config
from fakevlm.errors import UserError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

# Every known name, rewritten to that of llava-1.5-7b-hf as published, which both vLLM and transformers load.
# transformers 4.52 and later keep `model.` in memory; transformers 5 drops `vision_model.` when it saves.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^model\.language_model\."), "language_model.model."),
    (re.compile(r"^lm_head\."), "language_model.lm_head."),
    (re.compile(r"^model\.multi_modal_projector\."), "multi_modal_projector."),
    (re.compile(r"^(model\.)?vision_tower\.(vision_model\.)?"), "vision_tower.vision_model."),
)


def hub_name(name: str) -> str:
    """The name in the layout of llava-1.5-7b-hf of the tensor called `name` in any known layout."""
    for pattern, replacement in _RULES:
        renamed, count = pattern.subn(replacement, name)
        if count:
            return renamed
    return name


@dataclass(frozen=True)
class Weights:
    """The safetensors files of a checkpoint, checked against their index and their headers."""

    files: tuple[Path, ...]
    """In the order of their names."""
    shapes: dict[str, tuple[int, ...]]
    """Name of each tensor, as stored, to its shape."""

    @property
    def hub_layout(self) -> bool:
        """Whether every tensor has the name it has in llava-1.5-7b-hf."""
        return all(name == hub_name(name) for name in self.shapes)


def read_weights(folder: Path) -> Weights:
    """Reads the headers of the weights in `folder`. Raises UserError naming the file or the tensor that is missing."""
    index_file = folder / INDEX
    if index_file.exists():
        placed = read_json(index_file).get("weight_map")
        if not isinstance(placed, dict) or not placed:
            raise UserError(f"{index_file}: no weight_map in it")
        names = sorted(set(placed.values()))
    elif (folder / SINGLE).exists():
        placed, names = {}, [SINGLE]
    else:
        other = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
        hint = f"; {other[0]} must be converted to safetensors first" if other else ""
        raise UserError(f"model {folder} has no weights: neither {SINGLE} nor {INDEX}{hint}")
    files = tuple(folder / name for name in names)
    if missing := [path.name for path in files if not path.exists()]:
        raise UserError(f"model {folder} lacks the weights shard {missing[0]}{_and_more(missing)} named in {INDEX}")
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        header, _ = _read_header(path)
        shapes.update({name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"})
    if missing := sorted(set(placed) - set(shapes)):
        raise UserError(f"model {folder}: the tensor {missing[0]}{_and_more(missing)} of {INDEX} is in no shard")
    return Weights(files, shapes)


def check_shapes(weights: Weights, config: dict[str, Any], folder: Path) -> None:
    """Raises UserError naming the tensor that the model of `config` needs and that is missing or of another shape."""
    shapes = {hub_name(name): shape for name, shape in weights.shapes.items()}
    needed = dict(_needed_tensors(config))
    if missing := [name for name in needed if name not in shapes]:
        raise UserError(f"model {folder} lacks the tensor {missing[0]}{_and_more(missing)}")
    for name, shape in needed.items():
        if shapes[name] != shape:
            raise UserError(
                f"model {folder}: the tensor {name} has the shape {list(shapes[name])}, config.json says {list(shape)}"
            )


def rename_file(source: Path, target: Path) -> None:
    """Writes a copy of the safetensors file `source` with the tensor names of llava-1.5-7b-hf and the same data."""
    header, start = _read_header(source)
    renamed = json.dumps({hub_name(name): entry for name, entry in header.items()}, separators=(",", ":")).encode()
    renamed += b" " * (-len(renamed) % 8)
    with source.open("rb") as reader, target.open("wb") as writer:
        writer.write(struct.pack("<Q", len(renamed)) + renamed)
        reader.seek(start)
        shutil.copyfileobj(reader, writer, 1 << 24)


def rename_index(source: Path, target: Path) -> None:
    """Writes a copy of a safetensors index with the tensor names of llava-1.5-7b-hf."""
    index = read_json(source)
    index["weight_map"] = {hub_name(name): file for name, file in index["weight_map"].items()}
    target.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file and the offset of its data, after checking that the file is whole."""
    size = path.stat().st_size
    damaged = UserError(f"{path} is not a safetensors file: its header is damaged; download it again")
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if not 2 <= length <= min(size - 8, 100_000_000):
            raise damaged
        text = file.read(length)
    try:
        header = json.loads(text)
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise damaged from None
    if size != 8 + length + end:
        raise UserError(f"{path} has {size} bytes, its header says {8 + length + end}: download it again")
    return header, 8 + length


def _needed_tensors(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the tensors that inference reads, by their hub names, with their shapes."""
    text, vision = text_config(config), vision_config(config)
    hidden, mlp, vocab = text["hidden_size"], text["intermediate_size"], text["vocab_size"]
    head = text.get("head_dim") or hidden // text["num_attention_heads"]
    queries = head * text["num_attention_heads"]
    keys = head * (text.get("num_key_value_heads") or text["num_attention_heads"])
    yield "language_model.model.embed_tokens.weight", (vocab, hidden)
    yield "language_model.model.norm.weight", (hidden,)
    if not (config.get("tie_word_embeddings") or text.get("tie_word_embeddings")):
        yield "language_model.lm_head.weight", (vocab, hidden)
    for number in range(text["num_hidden_layers"]):
        layer = f"language_model.model.layers.{number}"
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
        yield f"{layer}.self_attn.q_proj.weight", (queries, hidden)
        yield f"{layer}.self_attn.k_proj.weight", (keys, hidden)
        yield f"{layer}.self_attn.v_proj.weight", (keys, hidden)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, queries)
        yield f"{layer}.mlp.gate_proj.weight", (mlp, hidden)
        yield f"{layer}.mlp.up_proj.weight", (mlp, hidden)
        yield f"{layer}.mlp.down_proj.weight", (hidden, mlp)
    wide, inner, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    tower = "vision_tower.vision_model"
    yield f"{tower}.embeddings.class_embedding", (wide,)
    yield f"{tower}.embeddings.patch_embedding.weight", (wide, 3, patch, patch)
    yield f"{tower}.embeddings.position_embedding.weight", ((vision["image_size"] // patch) ** 2 + 1, wide)
    for norm in ("weight", "bias"):
        yield f"{tower}.pre_layrnorm.{norm}", (wide,)
    for number in range(used_vision_layers(config.get("vision_feature_layer", -2), vision["num_hidden_layers"])):
        layer = f"{tower}.encoder.layers.{number}"
        for linear, rows, columns in (
            *((f"self_attn.{name}_proj", wide, wide) for name in ("q", "k", "v", "out")),
            ("mlp.fc1", inner, wide),
            ("mlp.fc2", wide, inner),
        ):
            yield f"{layer}.{linear}.weight", (rows, columns)
            yield f"{layer}.{linear}.bias", (rows,)
        for norm in ("layer_norm1", "layer_norm2"):
            yield f"{layer}.{norm}.weight", (wide,)
            yield f"{layer}.{norm}.bias", (wide,)
    features = config.get("vision_feature_layer", -2)
    yield "multi_modal_projector.linear_1.weight", (hidden, wide * (len(features) if isinstance(features, list) else 1))
    yield "multi_modal_projector.linear_2.weight", (hidden, hidden)
    if config.get("multimodal_projector_bias", True):
        yield "multi_modal_projector.linear_1.bias", (hidden,)
        yield "multi_modal_projector.linear_2.bias", (hidden,)


def used_vision_layers(feature_layer: int | list[int], layers: int) -> int:
    """How many layers of the vision tower the features need; hidden state 0 is the embedding."""
    chosen = feature_layer if isinstance(feature_layer, list) else [feature_layer]
    return max(layer if layer >= 0 else layers + 1 + layer for layer in chosen)


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
