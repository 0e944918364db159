"""The configuration files of a LLaVA that this package builds, with the keys of llava-1.5-7b-hf."""

import json
from pathlib import Path
from typing import Any

from fakevlm.testing.llava_sizes import LlavaSizes

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def write_configuration(path: Path, shape: LlavaSizes, dtype: str) -> dict[str, Any]:
    """Write config.json, generation_config.json and preprocessor_config.json into a folder; the first one's content."""
    config = model_config(shape, dtype)
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
    write_json(path / "preprocessor_config.json", preprocessor_config(shape))
    return config


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` the way transformers does."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def model_config(shape: LlavaSizes, dtype: str) -> dict[str, Any]:
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


def preprocessor_config(shape: LlavaSizes) -> dict[str, Any]:
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


def processor_config(shape: LlavaSizes) -> dict[str, Any]:
    """Return processor_config.json, which checkpoints made before transformers 4.45 lack."""
    return {
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
        "patch_size": shape.patch,
        "processor_class": "LlavaProcessor",
        "vision_feature_select_strategy": "default",
    }
