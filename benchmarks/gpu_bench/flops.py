"""How much has to be computed for an image: what the roofline is made of."""

from typing import Any, NamedTuple

from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.config_files import read_config, text_config, vision_config

LLAVA_7B_TFLOP = 8.8
"""TFLOP of a judgement by LLaVA-1.5-7B: 2 x 7.06 billion parameters x 620 tokens. `counted` says a little less."""
_LLAVA_7B = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008}


class Work(NamedTuple):
    """Floating point operations; a multiplication and an addition count as two."""

    image: float
    """Of a judgement: image, prompt and the first token."""
    token: float
    """Of each further token of an explanation."""


def work_of(checkpoint: Checkpoint) -> tuple[Work, Work]:
    """What the roofline takes, and what is counted layer by layer; the same but for LLaVA-1.5-7B."""
    config = read_config(checkpoint.path)
    found = counted(config, checkpoint.prompt_tokens, checkpoint.image_tokens)
    text = text_config(config)
    if all(text.get(name) == size for name, size in _LLAVA_7B.items()):
        return found._replace(image=1e12 * LLAVA_7B_TFLOP), found
    return found, found


def counted(config: dict[str, Any], prompt_tokens: int, image_tokens: int) -> Work:
    """The matrix products of a LLaVA with this config.json.

    Attention is counted in full, causal or not; LLaVA reads a layer of the vision tower before its last, and what comes
    after that one is not computed. Norms, activations and embeddings are left out.
    """
    text, vision = text_config(config), vision_config(config)
    width, layers = text["hidden_size"], text["num_hidden_layers"]
    shared = text.get("num_key_value_heads", text["num_attention_heads"]) / text["num_attention_heads"]
    weights = layers * ((2 + 2 * shared) * width**2 + 3 * width * text["intermediate_size"])
    head = text["vocab_size"] * width
    sight, depth = vision["hidden_size"], vision["num_hidden_layers"]
    layer = config.get("vision_feature_layer", -2)
    depth = depth + 1 + layer if layer < 0 else layer
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    tower = depth * (4 * sight**2 + 2 * sight * vision["intermediate_size"])
    look = (patches + 1) * 2 * tower + depth * 4 * (patches + 1) ** 2 * sight
    look += 2 * patches * sight * 3 * vision["patch_size"] ** 2
    bridge = 2 * image_tokens * (sight * width + width**2)
    read = 2 * prompt_tokens * weights + layers * 4 * prompt_tokens**2 * width
    token = 2 * (weights + head) + layers * 4 * prompt_tokens * width
    return Work(look + bridge + read + 2 * head, token)


def share_of_peak(images_s: float, tokens_per_image: float, work: Work, peak_tflops: float) -> float:
    """Share of the peak that so many images a second take; `tokens_per_image` counts the first token, too."""
    return images_s * (work.image + max(0.0, tokens_per_image - 1) * work.token) / (1e12 * peak_tflops)
