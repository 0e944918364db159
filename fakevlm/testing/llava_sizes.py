"""Sizes of a LLaVA that this package builds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LlavaSizes:
    """Sizes of a LLaVA."""

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
