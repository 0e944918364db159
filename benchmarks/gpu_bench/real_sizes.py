"""A checkpoint of LLaVA-1.5-7B's sizes out of random numbers, made here and kept for the next run.

    python -m benchmarks.gpu_bench.real_sizes PLAN.json

Nothing is downloaded: its tokenizer is learnt from its two answers, and has as many tokens as Llama's. The answers
have about 90 tokens, an assumed length of FakeVLM's, because what an explanation costs is its length.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_bench.children import answer
from tools.real_size_checkpoint import REAL, build

DTYPE = "bfloat16"
_WORDS = """
because light falls upon both cheeks differently while fingers merge near wrists and hair dissolves into background
foliage without individual strands; edges around glasses look smeared, reflections inside pupils disagree, letters on
signs cannot be read, fabric repeats its pattern every few centimetres, shadows point toward lamps instead of away,
teeth form one continuous band, earrings do not match each other, tiles bend where straight lines were expected, skin
lacks pores, colours bleed across borders, leaves share identical veins, distant windows float above their walls
"""
"""Each word once, so that what follows it is certain: the model knows no more than which token comes after which."""


@dataclass(frozen=True)
class RealSizesPlan:
    """Where to make it."""

    folder: str


def answers() -> tuple[str, str]:
    """What the checkpoint says, of which every word is a token."""
    words = dict.fromkeys("".join(char for char in _WORDS if char.isalpha() or char.isspace()).split())
    tail = " ".join(word for word in words if word not in {"a", "image"})
    return f"This is a fake image {tail}.</s>", f"This is a real image {tail}.</s>"


def measure(given: dict[str, Any]) -> dict[str, Any]:
    """Make it, in a folder that has its name only when it is complete."""
    folder = Path(RealSizesPlan(**given).folder)
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    build(unfinished, REAL, dtype=DTYPE, answers=answers(), llama=False)
    unfinished.rename(folder)
    return {"bytes": sum(file.stat().st_size for file in folder.iterdir())}


if __name__ == "__main__":
    answer(measure)
