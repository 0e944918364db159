"""Builds a small twin of the released FakeVLM: its files to the last key, its layers few, narrow and untrained."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.export import write_weights
from tools.small_checkpoint import llava_files, tokenizer
from tools.small_checkpoint.llava_files import LlavaSizes

SIZES = LlavaSizes(
    hidden=96, layers=2, heads=3, mlp=128, text_tokens=32000, vocab=32064, image_size=336,
    vision_hidden=64, vision_layers=3, vision_heads=4, vision_mlp=128,
)  # fmt: skip
WORDS = ("Does", "the", "image", "looks", "real/fake?", "USER:", "ASSISTANT:", "This", "is", "a", "real", "fake")
"""One token each, as in Vicuna's tokenizer or nearly so."""


def build_twin(folder: Path) -> Path:
    """Writes the twin into `folder` and returns it; always the same one.

    It has the files of `lingcco/fakeVLM`, made with transformers 4.45.2: configuration keys, tensor names, float16
    shards with an index, token ids (`<image>` 32000, `<pad>` 32001, 32064 embeddings), 336-pixel images of 576 tokens,
    no card and no processor_config.json.
    """
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.write_files(folder, *_vocabulary(WORDS, SIZES.text_tokens), legacy=True)
    config = llava_files.write_configuration(folder, SIZES, "float16")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model: Any = LlavaForConditionalGeneration(LlavaConfig(**config))
        for parameter in model.parameters():
            if parameter.ndim > 1:  # wide enough that every image gives another score
                parameter.normal_(std=parameter[0].numel() ** -0.5)
        write_weights(folder, model.half().state_dict().items(), shard_bytes=8_000_000)
    return folder


def _vocabulary(words: Iterable[str], size: int) -> tuple[dict[str, int], list[str]]:
    """A byte-pair vocabulary and its merges, which lengthen the beginning of a word by one character each."""
    tokens, merges = tokenizer.base_tokens(), []
    for word in words:
        left = tokenizer.SPACE
        for character in word:
            if left + character not in tokens:
                tokens.append(left + character)
                merges.append(f"{left} {character}")
            left += character
    tokens += [f"<filler_{number}>" for number in range(size - len(tokens))]
    return {token: number for number, token in enumerate(tokens)}, merges
