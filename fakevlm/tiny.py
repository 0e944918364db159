"""Builds the untrained stand-in models: a tiny LLaVA, and a small twin of the released FakeVLM.

Their answers are scripted, see `fakevlm.tiny_weights`: a verdict that depends on the image, and an explanation of 5 to
55 words. Run `python -m fakevlm.tiny FOLDER` to write the tiny one.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from fakevlm import layout, tiny_tokenizer, tiny_weights
from fakevlm.checkpoint import Card, write_card
from fakevlm.location import build_once, cache_folder
from fakevlm.tiny_weights import CLIP_MEAN, CLIP_STD, Shape

TINY = Shape(
    hidden=128, layers=2, heads=4, mlp=256, text_tokens=1150, vocab=1152, image_size=84,
    vision_hidden=96, vision_layers=3, vision_heads=4, vision_mlp=192,
)  # fmt: skip
TWIN = Shape(
    hidden=96, layers=2, heads=3, mlp=128, text_tokens=32000, vocab=32064, image_size=336,
    vision_hidden=64, vision_layers=3, vision_heads=4, vision_mlp=128,
)  # fmt: skip


def build_tiny(path: Path, *, seed: int = 0) -> Path:
    """Write an untrained LLaVA of about a million parameters into the folder `path` and return `path`.

    84-pixel images become 36 image tokens. The layout is that of llava-1.5-7b-hf, with the processor files of today,
    and the weights are float32. Its card says that it is not trained.
    """
    _write_common(path, TINY, "float32", legacy_tokenizer=False, seed=seed)
    write_json(path / "processor_config.json", _processor_config(TINY))
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


def default_checkpoint(cache_dir: Path | None = None) -> Path:
    """Return the folder of the tiny LLaVA in the cache, built on first use; for when no model is given.

    It is keyed by the source that builds it, so that a new version of this package never meets an old build.
    """
    sources = (Path(str(module.__file__)) for module in (layout, tiny_tokenizer, tiny_weights))
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in (Path(__file__), *sources))).hexdigest()[:16]
    return build_once(cache_folder(cache_dir) / f"tiny-{key}", build_tiny)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` the way transformers does."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_common(path: Path, shape: Shape, dtype: str, *, legacy_tokenizer: bool, seed: int) -> None:
    """Write all files but the ones in which the two models differ."""
    path.mkdir(parents=True, exist_ok=True)
    vocabulary = tiny_tokenizer.write_tokenizer(path, size=shape.text_tokens, legacy=legacy_tokenizer)
    config = _config(shape, dtype)
    write_json(path / "config.json", config)
    write_json(
        path / "generation_config.json",
        {
            "_from_model_config": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": config["pad_token_id"],
            "transformers_version": config["transformers_version"],
        },
    )
    write_json(path / "preprocessor_config.json", _preprocessor_config(shape))
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
    write_json(path / layout.INDEX, {"metadata": {"total_size": size}, "weight_map": placed})


def _config(shape: Shape, dtype: str) -> dict[str, Any]:
    """Return config.json with the keys of llava-1.5-7b-hf, and the sizes that it leaves to defaults."""
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_seq_length": (shape.image_size // shape.patch) ** 2,
        "image_token_index": shape.text_tokens,
        "model_type": "llava",
        "pad_token_id": shape.text_tokens + 1,
        "projector_hidden_act": "gelu",
        "text_config": {
            "_name_or_path": "lmsys/vicuna-7b-v1.5",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": shape.hidden,
            "intermediate_size": shape.mlp,
            "max_position_embeddings": 4096,
            "model_type": "llama",
            "num_attention_heads": shape.heads,
            "num_hidden_layers": shape.layers,
            "num_key_value_heads": shape.heads,
            "rms_norm_eps": 1e-05,
            "torch_dtype": dtype,
            "vocab_size": shape.vocab,
        },
        "tie_word_embeddings": False,
        "torch_dtype": dtype,
        "transformers_version": "4.45.2",
        "vision_config": {
            "hidden_size": shape.vision_hidden,
            "image_size": shape.image_size,
            "intermediate_size": shape.vision_mlp,
            "model_type": "clip_vision_model",
            "num_attention_heads": shape.vision_heads,
            "num_hidden_layers": shape.vision_layers,
            "patch_size": shape.patch,
            "projection_dim": 768,
            "vocab_size": shape.text_tokens,
        },
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }


def _preprocessor_config(shape: Shape) -> dict[str, Any]:
    """Return preprocessor_config.json as published with llava-1.5-7b-hf."""
    return {
        "crop_size": {"height": shape.image_size, "width": shape.image_size},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(CLIP_MEAN),
        "image_processor_type": "CLIPImageProcessor",
        "image_std": list(CLIP_STD),
        "processor_class": "LlavaProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": shape.image_size},
    }


def _processor_config(shape: Shape) -> dict[str, Any]:
    """Return processor_config.json, which checkpoints made before transformers 4.45 lack."""
    return {
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
        "patch_size": shape.patch,
        "processor_class": "LlavaProcessor",
        "vision_feature_select_strategy": "default",
    }


if __name__ == "__main__":
    print(build_tiny(Path(sys.argv[1])))
