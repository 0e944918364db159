"""Builds the untrained stand-in models: a tiny LLaVA, and a small twin of the released FakeVLM.

Their answers are scripted through the weights. The next word follows from the last one (a bigram chain), the verdict word and
the length of the explanation from the image. Run `python -m fakevlm.tiny FOLDER` to write the tiny one.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fakevlm.layout import hub_name
from fakevlm.tiny_tokenizer import write_tokenizer
from fakevlm.tiny_weights import CLIP_MEAN, CLIP_STD, Shape, scripted_model

TINY = Shape(
    hidden=128, layers=2, heads=4, mlp=256, text_tokens=1150, vocab=1152, image_size=84,
    vision_hidden=96, vision_layers=3, vision_heads=4, vision_mlp=192,
)  # fmt: skip


def build_tiny(path: Path, *, seed: int = 0) -> Path:
    """Write an untrained LLaVA of about a million parameters into the folder `path` and return `path`.

    84-pixel images become 36 image tokens. The layout is that of llava-1.5-7b-hf, the weights are float32.
    """
    _write_model(path, TINY, seed)
    write_json(path / "processor_config.json", processor_config(TINY))
    write_json(path / "fakevlm.json", {"prompt": {"prompt_format": "raw"}, "trained": False})
    return path


def _write_model(path: Path, shape: Shape, seed: int) -> None:
    from safetensors.torch import save_file

    path.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(path, size=shape.text_tokens)
    config = published_config(shape)
    model = scripted_model(config, shape, vocabulary, seed)
    tensors = {hub_name(name): tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    write_json(path / "config.json", config)
    write_json(
        path / "generation_config.json",
        {
            "_from_model_config": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": shape.text_tokens + 1,
            "transformers_version": "4.45.2",
        },
    )
    write_json(path / "preprocessor_config.json", preprocessor_config(shape))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` the way transformers does."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def published_config(shape: Shape) -> dict[str, Any]:
    """Return config.json with the keys of llava-1.5-7b-hf as transformers 4.45.2 saves it."""
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_seq_length": (shape.image_size // shape.patch) ** 2,
        "image_token_index": shape.text_tokens,
        "model_type": "llava",
        "pad_token_id": shape.text_tokens + 1,
        "projector_hidden_act": "gelu",
        "text_config": {
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": shape.hidden,
            "intermediate_size": shape.mlp,
            "max_position_embeddings": 4096,
            "model_type": "llama",
            "num_attention_heads": shape.heads,
            "num_hidden_layers": shape.layers,
            "num_key_value_heads": shape.heads,
            "rms_norm_eps": 1e-05,
            "torch_dtype": "float32",
            "vocab_size": shape.vocab,
        },
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.45.2",
        "vision_config": {
            "hidden_size": shape.vision_hidden,
            "image_size": shape.image_size,
            "intermediate_size": shape.vision_mlp,
            "model_type": "clip_vision_model",
            "num_attention_heads": shape.vision_heads,
            "num_hidden_layers": shape.vision_layers,
            "patch_size": shape.patch,
            "projection_dim": shape.vision_hidden,
            "vocab_size": shape.text_tokens,
        },
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }


def preprocessor_config(shape: Shape) -> dict[str, Any]:
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


def processor_config(shape: Shape) -> dict[str, Any]:
    """Return processor_config.json, which the first checkpoints of llava-1.5 lack."""
    return {
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
        "patch_size": shape.patch,
        "processor_class": "LlavaProcessor",
        "vision_feature_select_strategy": "default",
    }


if __name__ == "__main__":
    print(build_tiny(Path(sys.argv[1])))
