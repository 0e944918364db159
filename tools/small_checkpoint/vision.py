"""Teaches the small checkpoint's vision tower what forged patches look like, before it becomes part of a LLaVA.

As CLIP does for LLaVA: from the loss of a text alone, a tower with random weights learns next to nothing in the time
that there is here. A forged picture and its original differ where the artifact is, so that every patch has a label:
real, or the artifact's family. The tower learns these and the label of the whole picture; its two heads are thrown
away.
"""

import json
import math
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fakevlm.forge import FAMILIES
from fakevlm.metrics.classification import auroc
from fakevlm.preprocess import CLIP_MEAN, CLIP_STD

BATCH = 32
"""Pictures of a step, half of them real: the originals of the forged ones."""
WARMUP, DECAY, CLIP = 100, 0.05, 1.0
SAVE_EVERY, LOOK_EVERY = 250, 500
"""Steps."""
IGNORED = -100
CLASSES = {family: number for number, family in enumerate(sorted(FAMILIES), 1)}
"""0 is real."""

Pixels = npt.NDArray[np.uint8]


class Phase(NamedTuple):
    """Some steps on some datasets."""

    steps: int
    data: tuple[Path, ...]
    balanced: bool = False
    """Whether every artifact comes equally often, however few pictures it suits."""
    severities: tuple[str, ...] = ()
    """Empty: all."""


class Cycle(NamedTuple):
    """Phases over which the learning rate falls from its peak to 0, along half a cosine."""

    peak: float
    phases: tuple[Phase, ...]

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)


class Pair(NamedTuple):
    """An original and the forged picture made from it."""

    real: Path
    fake: Path
    family: str
    severity: str
    source: str
    """The photograph."""


def pretrain(start: Path, cycles: Sequence[Cycle], state_file: Path, *, seed: int) -> Any:
    """Train the vision tower of the LLaVA in `start`; return that LLaVA. An interrupted training goes on."""
    import torch
    from transformers import LlavaForConditionalGeneration

    torch.manual_seed(seed)
    whole: Any = LlavaForConditionalGeneration.from_pretrained(start).float()
    # On a CPU, the backward pass of torch's fused attention in bfloat16 takes six times as long as plain products do.
    whole.set_attn_implementation("eager")
    tower = whole.model.vision_tower
    last = tower.encoder.layers[-1]
    del tower.encoder.layers[-1]  # LLaVA does not read it
    width = whole.config.vision_config.hidden_size
    heads = torch.nn.ModuleList([torch.nn.Linear(width, len(CLASSES) + 1) for _ in range(2)])
    model = torch.nn.ModuleList([tower, heads])
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.98)
    )
    done, total = 0, sum(cycle.steps for cycle in cycles)
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["step"]
    held_out = pairs_of(cycles[0].phases[-1].data[-1], "val")
    apart = frozenset(pair.source for pair in held_out)
    held_out = held_out[:400]
    started, begun = time.monotonic(), done
    with ThreadPoolExecutor(2) as pool:
        for step in range(done, total):
            cycle, at = _cycle(cycles, step)
            chosen = _batch(cycle.phases, at, seed, apart)
            pixels = _pixels(chosen, pool)
            loss = _loss(tower, heads, pixels, chosen)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            for group in optimizer.param_groups:
                group["lr"] = cycle.peak * min((at + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * at / cycle.steps))
            optimizer.step()
            optimizer.zero_grad()
            if (step + 1) % LOOK_EVERY == 0 or step + 1 == total:
                rate = (step + 1 - begun) * BATCH / (time.monotonic() - started)
                found = _look(tower, heads, held_out, pool)
                print(f"vision {step + 1:,}/{total:,}  loss {loss.item():.3f}  {rate:.0f}/s  {found}", flush=True)
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == total:
                unfinished = state_file.with_suffix(".partial")
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
                torch.save(state, unfinished)
                os.replace(unfinished, state_file)
    tower.encoder.layers.append(last)
    return whole.eval()


_known: dict[Phase, list[Pair]] = {}
_chances: dict[Phase, npt.NDArray[np.float64]] = {}


def pairs_of(data: Path, split: str) -> list[Pair]:
    """The pairs of a forged dataset, in its order."""
    records = json.loads((data / "data_json" / f"{split}.json").read_text())
    return [
        Pair(data / real["image"], data / fake["image"], fake["family"], fake["severity"], fake["source"])
        for real, fake in zip(records[::2], records[1::2], strict=True)
    ]


def _cycle(cycles: Sequence[Cycle], step: int) -> tuple[Cycle, int]:
    """The cycle of a step, and the step's number in it."""
    for cycle in cycles:
        if step < cycle.steps:
            return cycle, step
        step -= cycle.steps
    raise IndexError(step)


def _batch(phases: Sequence[Phase], step: int, seed: int, apart: frozenset[str]) -> list[Pair]:
    """The pairs of a step of a cycle: every epoch of a phase is another permutation, but for balanced ones.

    None is of a photograph in `apart`, whatever dataset has it.
    """
    for phase in phases:
        if step < phase.steps:
            break
        step -= phase.steps
    if phase not in _known:
        every = (pair for data in phase.data for pair in pairs_of(data, "train") if pair.source not in apart)
        _known[phase] = [pair for pair in every if not phase.severities or pair.severity in phase.severities]
    pairs = _known[phase]
    each = BATCH // 2
    if phase.balanced:
        if phase not in _chances:
            count = Counter(pair.family for pair in pairs)
            _chances[phase] = np.array([1 / count[pair.family] for pair in pairs]) / len(count)
        drawn = np.random.default_rng([seed, step]).choice(len(pairs), each, p=_chances[phase])
        return [pairs[number] for number in drawn]
    epoch, within = divmod(step, len(pairs) // each)
    order = np.random.default_rng([seed, len(pairs), epoch]).permutation(len(pairs))
    return [pairs[number] for number in order[within * each : (within + 1) * each]]


def _pixels(pairs: Sequence[Pair], pool: ThreadPoolExecutor) -> Pixels:
    """uint8[2 * pairs, edge, edge, 3]: each original before its forged twin."""
    files = [file for pair in pairs for file in (pair.real, pair.fake)]
    return np.stack(list(pool.map(lambda file: np.asarray(Image.open(file).convert("RGB")), files)))


def patch_labels(pixels: Pixels, families: npt.NDArray[np.int64], patch: int) -> npt.NDArray[np.int64]:
    """Class of each patch, int64[pictures, patches]; IGNORED where the difference is neither large nor nothing.

    Both pictures were encoded, so that they differ a little everywhere.
    """
    count, edge = len(pixels), pixels.shape[1] // patch
    difference = np.abs(pixels[0::2].astype(np.int16) - pixels[1::2]).mean(-1)
    blocks = difference.reshape(-1, edge, patch, edge, patch).mean((2, 4)).reshape(-1, edge * edge)
    most = blocks.max(axis=1, keepdims=True)
    labels = np.zeros((count, edge * edge), dtype=np.int64)
    labels[1::2] = np.where(
        blocks > np.maximum(1.5, 0.3 * most),
        families[:, None],
        np.where(blocks < np.maximum(0.7, 0.05 * most), 0, IGNORED),
    )
    return labels


def _features(tower: Any, pixels: Pixels) -> Any:
    import torch

    mean = np.array(CLIP_MEAN, np.float32) * 255
    deviation = np.array(CLIP_STD, np.float32) * 255
    values = torch.from_numpy(((pixels - mean) / deviation).transpose(0, 3, 1, 2).copy())
    with torch.autocast("cpu", torch.bfloat16):
        return tower(values).last_hidden_state[:, 1:].float()


def _loss(tower: Any, heads: Any, pixels: Pixels, pairs: Sequence[Pair]) -> Any:
    import torch
    from torch.nn.functional import cross_entropy

    families = np.array([CLASSES[pair.family] for pair in pairs])
    features = _features(tower, pixels)
    labels = patch_labels(pixels, families, tower.config.patch_size)
    whole = np.zeros(len(pixels), dtype=np.int64)
    whole[1::2] = families
    by_patch = cross_entropy(heads[0](features).flatten(0, 1), torch.from_numpy(labels).flatten(), ignore_index=IGNORED)
    return by_patch + cross_entropy(_pooled(heads[1](features)), torch.from_numpy(whole))


def _pooled(scores: Any) -> Any:
    """One score for each class from those of the patches: one patch may be enough."""
    return scores.logsumexp(1) - math.log(scores.shape[1])


def _look(tower: Any, heads: Any, pairs: Sequence[Pair], pool: ThreadPoolExecutor) -> str:
    """How well the head for whole pictures does on pairs that are not trained on, by severity."""
    import torch

    scores, families = [], []
    tower.eval()
    with torch.no_grad():
        for first in range(0, len(pairs), 50):
            chances = _pooled(heads[1](_features(tower, _pixels(pairs[first : first + 50], pool)))).softmax(1)
            scores += (1 - chances[:, 0]).tolist()
            families += (chances[1::2, 1:].argmax(1) + 1).tolist()
    tower.train()
    words = []
    for severity in ("subtle", "visible", "strong"):
        chosen = [number for number, pair in enumerate(pairs) if pair.severity == severity]
        logit = np.array([scores[2 * number + side] for number in chosen for side in (0, 1)])
        named = np.mean([families[number] == CLASSES[pairs[number].family] for number in chosen])
        words.append(f"{severity}: auroc {auroc(np.tile([False, True], len(chosen)), logit):.3f} named {named:.2f}")
    return "  ".join(words)
