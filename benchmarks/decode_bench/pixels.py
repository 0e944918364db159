"""Ways from uint8 pixels to the engine's tensor, which is made on the event loop or the caller's thread."""

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.decode_bench.clock import cpu_ms
from fakevlm.preprocess import CLIP_MEAN, CLIP_STD, ImageSpec

Array = NDArray[Any]


def engine_pixels(spec: ImageSpec, rounds: int) -> Iterator[tuple[str, ...]]:
    """Rows of each way: CPU-ms, bytes of the tensor, and whether its values are those of the first."""
    import torch

    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).integers(0, 256, (spec.height, spec.width, 3), dtype=np.uint8)
    levels = np.arange(256, dtype=np.float32) / 255
    values = np.stack([(levels - mean) / std for mean, std in zip(CLIP_MEAN, CLIP_STD, strict=True)]).astype(np.float32)
    table = torch.from_numpy(values)
    half = table.to(torch.bfloat16)
    flat = table.reshape(-1)
    offsets = (np.arange(3, dtype=np.int32) * 256)[:, None, None]

    def gather(table: Any) -> Any:
        index = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).reshape(3, -1).long()
        return torch.gather(table, 1, index).reshape(3, *pixels.shape[:2])

    def selected(table: Any) -> Any:
        index = torch.from_numpy((pixels.transpose(2, 0, 1) + offsets).reshape(-1))
        return torch.index_select(table, 0, index).reshape(3, *pixels.shape[:2])

    def taken() -> Any:
        return torch.from_numpy(np.stack([values[band].take(pixels[..., band]) for band in range(3)]))

    scale = torch.tensor([1 / (255 * std) for std in CLIP_STD], dtype=torch.float32)[:, None, None]
    shift = torch.tensor([-mean / std for mean, std in zip(CLIP_MEAN, CLIP_STD, strict=True)])[:, None, None]

    def computed() -> Any:
        planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return torch.addcmul(shift.float(), planes.float(), scale)

    ways: dict[str, Callable[[], Any]] = {
        "gather with 64-bit indices, float32": lambda: gather(table),
        "gather with 64-bit indices, bfloat16": lambda: gather(half),
        "index_select with 32-bit indices, float32": lambda: selected(flat),
        "index_select with 32-bit indices, bfloat16": lambda: selected(half.reshape(-1)),
        "numpy.take, float32": taken,
        "multiplied and added, float32": computed,
    }
    costs = cpu_ms(ways, 20 * rounds)
    for name, way in ways.items():
        tensor = way()
        same = bool((tensor == gather(half if tensor.dtype == torch.bfloat16 else table)).all())
        yield name, f"{costs[name]:.3f}", f"{tensor.nbytes:,}", "yes" if same else "no"
    whole = {"float32": gather(table).numpy(), "bfloat16": gather(half).view(torch.int16).numpy(), "uint8": pixels}
    sent = cpu_ms({name: partial(_sent, array) for name, array in whole.items()}, 20 * rounds)
    for name, array in whole.items():
        yield f"pickled and read again, {name}", f"{sent[name]:.3f}", f"{array.nbytes:,}", ""


def _sent(array: Array) -> Any:
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(array, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(body, buffers=[bytes(buffer.raw()) for buffer in buffers])
