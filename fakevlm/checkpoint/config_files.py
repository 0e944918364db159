"""The JSON files of a LLaVA: config.json and the processor's, with the defaults of what they leave out."""

import json
from pathlib import Path
from typing import Any

from fakevlm.errors import UserError, one_line
from fakevlm.preprocess import ImageSpec
from fakevlm.prompt import IMAGE_TOKEN

ARCHITECTURE = "LlavaForConditionalGeneration"

# What a published config.json leaves out has the defaults of transformers' LlamaConfig and CLIPVisionConfig.
_TEXT_DEFAULTS = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
}
_VISION_DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises UserError naming the file when it holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"model {path.parent} lacks {path.name}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object")
    return content


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises UserError when it does not describe a LLaVA of CLIP and Llama."""
    if not (folder / "config.json").exists():
        if (folder / "adapter_config.json").exists():
            raise UserError(f"model {folder} is an adapter: merge it into its base model first")
        raise UserError(f"model {folder} lacks config.json: it is not a checkpoint")
    config = read_json(folder / "config.json")
    names = config.get("architectures") or [config.get("model_type")]
    if config.get("model_type") != "llava" or names[0] not in (ARCHITECTURE, "llava"):
        raise UserError(f"model {folder} is a {names[0]}, FakeVLM is a {ARCHITECTURE}")
    for part, kind in (("text_config", "llama"), ("vision_config", "clip_vision_model")):
        if not isinstance(config.get(part), dict):
            raise UserError(f"{folder / 'config.json'} lacks {part}")
        if config[part].get("model_type", kind) != kind:
            raise UserError(f"model {folder}: {part} is a {config[part]['model_type']}, FakeVLM has a {kind}")
    return config


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The `text_config` of a config.json."""
    return {**_TEXT_DEFAULTS, **config.get("text_config", {})}


def vision_config(config: dict[str, Any]) -> dict[str, Any]:
    """The `vision_config` of a config.json."""
    return {**_VISION_DEFAULTS, **config.get("vision_config", {})}


def image_token_id(config: dict[str, Any]) -> int:
    """The id of the token that stands for the image."""
    token: int = config.get("image_token_index", config.get("image_token_id", 32000))
    return token


def select_strategy(config: dict[str, Any]) -> str:
    """Which features become image tokens: `default` leaves the class embedding out, `full` keeps it."""
    strategy: str = config.get("vision_feature_select_strategy", "default")
    return strategy


def feature_tokens(config: dict[str, Any]) -> int:
    """How many tokens the vision tower gives for one image."""
    vision = vision_config(config)
    patches = int((vision["image_size"] // vision["patch_size"]) ** 2)
    return patches if select_strategy(config) == "default" else patches + 1


def read_processor_config(folder: Path) -> dict[str, Any]:
    """processor_config.json, empty where there is none."""
    file = folder / "processor_config.json"
    return read_json(file) if file.exists() else {}


def missing_processor_settings(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What processor_config.json lacks, by config.json. Checkpoints made before transformers 4.45 lack it all.

    One additional image token stands for CLIP's class embedding, which the `default` strategy takes away again.
    """
    needed = {
        "patch_size": vision_config(config)["patch_size"],
        "vision_feature_select_strategy": select_strategy(config),
        "num_additional_image_tokens": 1,
    }
    present = read_processor_config(folder)
    if all(present.get(key) is not None for key in needed):
        return {}
    complete = {**needed, "image_token": IMAGE_TOKEN, "processor_class": "LlavaProcessor"}
    return {key: value for key, value in complete.items() if present.get(key) is None}


def read_image_spec(folder: Path) -> ImageSpec:
    """The spec in preprocessor_config.json, or where transformers 5 writes it, in processor_config.json."""
    file = folder / "preprocessor_config.json"
    config = read_json(file) if file.exists() else read_processor_config(folder).get("image_processor")
    if not isinstance(config, dict):
        raise UserError(f"model {folder} lacks its image processor, preprocessor_config.json")
    try:
        return ImageSpec.from_preprocessor_config(config)
    except UserError as error:
        raise UserError(f"model {folder}: {error}") from None


def read_chat_template(folder: Path) -> str | None:
    """The chat template from wherever transformers keeps it, or None."""
    jinja = folder / "chat_template.jinja"
    if jinja.exists():
        return jinja.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        template = read_json(folder / name).get("chat_template") if (folder / name).exists() else None
        if isinstance(template, str):
            return template
    return None
