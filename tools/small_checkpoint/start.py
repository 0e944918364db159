"""Builds the untrained start of the small checkpoint: a LLaVA of a few million parameters whose first layer is set."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fakevlm.checkpoint.card import Card, write_card
from fakevlm.checkpoint.export import write_weights
from tools.small_checkpoint import llava_files, tokenizer
from tools.small_checkpoint.llava_files import LlavaSizes

SMALL = LlavaSizes(
    hidden=192, layers=3, heads=3, mlp=384, text_tokens=1022, vocab=1024, image_size=112,
    vision_hidden=192, vision_layers=6, vision_heads=6, vision_mlp=576,
)  # fmt: skip
"""112-pixel images become 64 image tokens. LLaVA reads all but the last layer of the vision tower."""
_LOW, _REST = 32, 112
"""Luminance frequencies of the first layer: the lowest ones, and others over the rest; colour takes what is left."""


def build_small(path: Path, answers: Iterable[str], *, seed: int = 0) -> Path:
    """Write the untrained model into the folder `path`, its tokenizer learnt from `answers`, and return `path`.

    Plain initialisation memorises a few hundred photographs. With a 2-D DCT basis in the patch embedding the model sees
    frequencies from the start, which is where forged images differ from photographs.
    """
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    path.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = tokenizer.learn(answers, size=SMALL.text_tokens)
    tokenizer.write_files(path, vocabulary, merges, legacy=False)
    config = llava_files.write_configuration(path, SMALL, "float32")
    llava_files.write_json(path / "processor_config.json", llava_files.processor_config(SMALL))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model: Any = LlavaForConditionalGeneration(LlavaConfig(**config)).float().eval()
        basis = torch.from_numpy(dct_patches(SMALL.patch, SMALL.vision_hidden))
        for name, parameter in model.named_parameters():
            if name.endswith("patch_embedding.weight"):
                parameter.copy_(basis)
            elif "vision" in name and ".layers.0.mlp." in name:
                parameter.copy_(_magnitudes(name, parameter))
        write_weights(path, model.state_dict().items())
    write_card(path, Card(trained=False, description="Untrained start of the small checkpoint."))
    return path


def _magnitudes(name: str, parameter: Any) -> Any:
    """The first block's weights: it adds random mixtures of how strong each frequency is, whatever its sign.

    gelu(2x) + gelu(-2x) is about 2|x|. Generators betray themselves by how much of a frequency there is, which a
    model of this size takes long to find out from the frequencies themselves.
    """
    import torch

    width = SMALL.vision_hidden
    if name.endswith("fc1.weight"):
        changed = parameter.clone()
        changed[:width] = 2 * torch.eye(width)
        changed[width : 2 * width] = -changed[:width]
        return changed
    if name.endswith("fc2.weight"):
        changed = parameter.clone()
        changed[:, :width] = torch.randn(width, width) * 0.5 / width**0.5
        changed[:, width : 2 * width] = changed[:, :width]
        return changed
    return torch.zeros_like(parameter)


def dct_patches(patch: int, width: int) -> npt.NDArray[np.float32]:
    """Filters for patches, float32[width, 3, patch, patch]: products of cosines over luminance and colour differences.

    Ahmed, Natarajan and Rao 1974. Photographs hold less of a frequency the higher it is, about as its inverse; the
    filters' gains rise likewise, so that all channels vary alike.
    """
    places = np.arange(patch) + 0.5
    cosines = np.array([np.cos(np.pi * order * places / patch) for order in range(patch)])
    cosines[0] *= np.sqrt(0.5)
    cosines *= np.sqrt(2.0 / patch)
    orders = sorted(np.ndindex(patch, patch), key=lambda order: (sum(order), order))
    later = orders[_LOW:]
    spread = [later[number * len(later) // _REST] for number in range(_REST)]
    colours = width - _LOW - _REST
    luminance, red, blue = np.array([0.30, 0.59, 0.11]), np.array([1.0, -1.0, 0.0]), np.array([-0.5, -0.5, 1.0])
    plans = [(order, luminance) for order in [*orders[:_LOW], *spread]]
    plans += [(orders[number // 2], red if number % 2 else blue) for number in range(colours)]
    filters = np.empty((width, 3, patch, patch), dtype=np.float32)
    for number, ((u, v), colour) in enumerate(plans):
        gain = (1.0 + np.hypot(u, v)) / patch
        filters[number] = gain * colour[:, None, None] * np.outer(cosines[u], cosines[v])
    return filters
