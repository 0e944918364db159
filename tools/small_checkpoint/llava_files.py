"""The configuration files of a LLaVA of any size, with the keys of llava-1.5-7b-hf."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakevlm.preprocess import CLIP_MEAN, CLIP_STD


@dataclass(frozen=True)
class LlavaSizes:
    """Widths, depths and token counts of a LLaVA."""

    hidden: int
    layers: int
    heads: int
    mlp: int
    text_tokens: int
    """Tokens of the tokenizer before `<image>` and `<pad>`."""
    vocab: int
    """Rows of the embedding, a multiple of 64 as in llava-1.5-7b-hf."""
    image_size: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    vision_mlp: int
    patch: int = 14


def write_configuration(path: Path, sizes: LlavaSizes, dtype: str) -> dict[str, Any]:
    """Write config.json, generation_config.json and preprocessor_config.json into a folder; returns the first one."""
    config = model_config(sizes, dtype)
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
    write_json(path / "preprocessor_config.json", preprocessor_config(sizes))
    return config


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` the way transformers does."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def model_config(sizes: LlavaSizes, dtype: str) -> dict[str, Any]:
    """config.json with the keys of llava-1.5-7b-hf, and the sizes that it leaves to defaults."""
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_seq_length": (sizes.image_size // sizes.patch) ** 2,
        "image_token_index": sizes.text_tokens,
        "model_type": "llava",
        "pad_token_id": sizes.text_tokens + 1,
        "projector_hidden_act": "gelu",
        "text_config": {
            "_name_or_path": "lmsys/vicuna-7b-v1.5",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": sizes.hidden,
            "intermediate_size": sizes.mlp,
            "max_position_embeddings": 4096,
            "model_type": "llama",
            "num_attention_heads": sizes.heads,
            "num_hidden_layers": sizes.layers,
            "num_key_value_heads": sizes.heads,
            "rms_norm_eps": 1e-05,
            "torch_dtype": dtype,
            "vocab_size": sizes.vocab,
        },
        "tie_word_embeddings": False,
        "torch_dtype": dtype,
        "transformers_version": "4.45.2",
        "vision_config": {
            "hidden_size": sizes.vision_hidden,
            "image_size": sizes.image_size,
            "intermediate_size": sizes.vision_mlp,
            "model_type": "clip_vision_model",
            "num_attention_heads": sizes.vision_heads,
            "num_hidden_layers": sizes.vision_layers,
            "patch_size": sizes.patch,
            "projection_dim": 768,
            "vocab_size": sizes.text_tokens,
        },
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }


def preprocessor_config(sizes: LlavaSizes) -> dict[str, Any]:
    """preprocessor_config.json as published with llava-1.5-7b-hf."""
    return {
        "crop_size": {"height": sizes.image_size, "width": sizes.image_size},
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
        "size": {"shortest_edge": sizes.image_size},
    }


def processor_config(sizes: LlavaSizes) -> dict[str, Any]:
    """processor_config.json, which checkpoints made before transformers 4.45 lack."""
    return {
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
        "patch_size": sizes.patch,
        "processor_class": "LlavaProcessor",
        "vision_feature_select_strategy": "default",
    }
