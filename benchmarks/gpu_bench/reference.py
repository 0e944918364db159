"""The reference: transformers in float32, image by image, on the CPU or on the GPU.

    python -m benchmarks.gpu_bench.reference PLAN.json

vLLM for GPUs and vLLM for CPUs cannot be in one environment; transformers is there in both. On the GPU, TF32 is off:
products are of float32, as on a CPU.
"""

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.gpu_bench.children import answer
from fakescan.engine.model import open_model
from fakescan.storage.store import Store


@dataclass(frozen=True)
class ReferencePlan:
    """What to judge, and where."""

    model: str | None
    labelled: str
    device: Literal["cpu", "cuda"]
    until: float
    """Unix time at which no further image is begun; the first is judged whatever the time."""


def measure(given: dict[str, Any]) -> dict[str, Any]:
    """The two log-probabilities of as many images as there is time for."""
    plan = ReferencePlan(**given)
    import torch
    from PIL import Image
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    checkpoint = open_model(plan.model, Store())
    require_memory(plan.device, 4 * checkpoint.parameters)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    model: Any = LlavaForConditionalGeneration.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    model = model.to(plan.device)
    processor = AutoProcessor.from_pretrained(checkpoint.path, use_fast=False)
    fake: list[float] = []
    real: list[float] = []
    began = time.time()
    for pixels in np.load(plan.labelled)["pixels"]:
        if fake and time.time() >= plan.until:
            break
        inputs = processor(text=checkpoint.prompt.text(), images=Image.fromarray(pixels), return_tensors="pt")
        with torch.inference_mode():
            logits = model(**inputs.to(plan.device), logits_to_keep=1).logits[0, -1]
            logprobs = logits.float().log_softmax(-1).cpu()
        fake.append(float(logprobs[checkpoint.fake_token_id]))
        real.append(float(logprobs[checkpoint.real_token_id]))
    return {"answers": {"fake": fake, "real": real}, "images_s": len(fake) / (time.time() - began)}


def require_memory(device: str, weights: int) -> None:
    """Raise RuntimeError where float32 weights of so many bytes do not fit, before half an hour is spent on them."""
    import psutil
    import torch

    needed = int(1.1 * weights)
    free = psutil.virtual_memory().available
    if free < needed:
        raise RuntimeError(f"float32 takes {needed / 1e9:.0f} GB of memory, and {free / 1e9:.0f} GB are free")
    if device == "cuda":
        on_gpu, _ = torch.cuda.mem_get_info()
        if on_gpu < needed:
            raise RuntimeError(f"float32 takes {needed / 1e9:.0f} GB of the GPU, and {on_gpu / 1e9:.0f} GB are free")


if __name__ == "__main__":
    answer(measure)
