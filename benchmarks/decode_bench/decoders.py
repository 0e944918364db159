"""Other decoders, as far as they are installed: bytes of a file to uint8[height, width, 3], RGB.

    pip install --target FOLDER PyTurboJPEG pyvips-binary pyvips imagecodecs
    PYTHONPATH=$PYTHONPATH:FOLDER python -m benchmarks.decode

Of them only simplejpeg is a dependency of this project.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Decoder:
    """A library that decodes some formats."""

    name: str
    formats: tuple[str, ...]
    decode: Callable[[bytes], Array]


def installed() -> tuple[list[Decoder], list[str]]:
    """Those that can be tried here, and why the others cannot."""
    found, missing = [], []
    for name, (module, make) in _MAKERS.items():
        if importlib.util.find_spec(module) is None:
            missing.append(f"{name}: not installed")
            continue
        try:
            found += make()
        except (AttributeError, ImportError, OSError, RuntimeError) as error:
            missing.append(f"{name}: {error}")
    return found, missing


def _simplejpeg() -> list[Decoder]:
    import simplejpeg

    def decode(data: bytes) -> Array:
        array: Array = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
        return array

    return [Decoder("simplejpeg", ("JPEG",), decode)]


def _turbojpeg() -> list[Decoder]:
    from turbojpeg import TJPF_RGB, TurboJPEG

    library = TurboJPEG()
    return [Decoder("PyTurboJPEG", ("JPEG",), lambda data: np.asarray(library.decode(data, pixel_format=TJPF_RGB)))]


def _vips() -> list[Decoder]:
    import pyvips

    pyvips.cache_set_max(0)

    def decode(data: bytes) -> Array:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential")
        array: Array = image.numpy()
        return array[..., :3] if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)

    return [Decoder("pyvips", ("JPEG", "PNG", "WEBP"), decode)]


def _opencv() -> list[Decoder]:
    import cv2

    cv2.setNumThreads(1)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

    def decode(data: bytes) -> Array:
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))

    return [Decoder("OpenCV", ("JPEG", "PNG", "WEBP"), decode)]


def _torchvision() -> list[Decoder]:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg, decode_png

    torch.set_num_threads(1)

    def with_(function: Any) -> Callable[[bytes], Array]:
        def decode(data: bytes) -> Array:
            tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            return np.ascontiguousarray(function(tensor, ImageReadMode.RGB).numpy().transpose(1, 2, 0))

        return decode

    decoders = [
        Decoder("torchvision", ("JPEG",), with_(decode_jpeg)),
        Decoder("torchvision", ("PNG",), with_(decode_png)),
    ]
    torch.ops.image.decode_jpeg  # noqa: B018 - raises where torchvision has been built without it
    return decoders


def _imagecodecs() -> list[Decoder]:
    import imagecodecs

    def rgb(array: Array) -> Array:
        return array[..., :3] if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)

    return [
        Decoder("imagecodecs, libjpeg-turbo", ("JPEG",), lambda data: rgb(imagecodecs.jpeg8_decode(data))),
        Decoder("imagecodecs, libspng", ("PNG",), lambda data: rgb(imagecodecs.spng_decode(data))),
        Decoder("imagecodecs, libpng", ("PNG",), lambda data: rgb(imagecodecs.png_decode(data))),
        Decoder("imagecodecs, libwebp", ("WEBP",), lambda data: rgb(imagecodecs.webp_decode(data))),
    ]


_MAKERS: dict[str, tuple[str, Callable[[], list[Decoder]]]] = {
    "simplejpeg": ("simplejpeg", _simplejpeg),
    "PyTurboJPEG": ("turbojpeg", _turbojpeg),
    "pyvips": ("pyvips", _vips),
    "OpenCV": ("cv2", _opencv),
    "torchvision": ("torchvision", _torchvision),
    "imagecodecs": ("imagecodecs", _imagecodecs),
}
