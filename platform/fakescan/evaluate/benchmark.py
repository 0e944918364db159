"""The labelled images of a benchmark: FakeClue, LOKI, DD-VQA, or any tree with folders named real and fake."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from fakescan.evaluate.config import EvaluateConfig
from fakescan.scan.config import ScanConfig
from fakescan.sources.source import open_source
from fakescan.storage.errors import store_errors
from fakescan.storage.store import Store
from fakescan.storage.url import file_path, redact, scheme_of
from fakevlm.data.dataset import open_dataset, split_names
from fakevlm.data.record import Record
from fakevlm.errors import ImageError, UserError
from fakevlm.image_file import read_image

_MAX_PIXELS: int = ScanConfig.model_fields["max_pixels"].default
_LABELS = {"real": False, "fake": True}
"""Whether an image is fake, by the name of a folder above it."""
_ABOVE_GENERATORS = ("fake", "manipulated_sequences")
"""Folders whose own folders are called after what made the images; the second is FaceForensics++'s."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image whose truth is known."""

    uri: str
    is_fake: bool
    category: str
    """What it shows; empty where unknown."""
    generator: str
    """What made it; empty for a real image and where unknown."""
    source: str
    """Photograph or video that it was made from; its own URI where unknown."""
    reference: str
    """What a good explanation says; empty where there is none."""
    name: str = ""
    """Its path in the benchmark."""
    size: int | None = None
    """Bytes, where the listing says so."""
    etag: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """The images of an evaluation, each once."""

    images: tuple[LabelledImage, ...]
    repeated: int
    """Records left out because their image had come before."""
    split: str | None
    """The file of records that was read."""


def read_benchmark(config: EvaluateConfig) -> Benchmark:
    """All images with their labels, in the order of the benchmark. Raises UserError when there are none."""
    whole = read_images(config, usual_split="test")
    return replace(whole, images=_sample(whole.images, config.sample))


def read_images(config: EvaluateConfig, *, usual_split: str) -> Benchmark:
    """All images of `config.data`, whatever `config.sample` says. Raises UserError when there are none."""
    split, images = (None, _tree(config)) if config.benchmark == "folder" else _records(config, usual_split)
    unique: dict[str, LabelledImage] = {}
    repeated = 0
    for image in images:
        before = unique.setdefault(image.uri, image)
        if before is image:
            continue
        repeated += 1
        if before.is_fake != image.is_fake:
            raise UserError(f"data: {redact(image.uri)} is called real and fake; see fakescan data validate")
    if not unique:
        raise UserError(f"data: {redact(config.data)} holds no labelled images")
    return Benchmark(tuple(unique.values()), repeated, split)


def read_picture(uri: str, store: Store) -> Image.Image | None:
    """The RGB picture at an address; None where it cannot be read: the scan of the images says why."""
    fs, path = store.filesystem(uri)
    try:
        return read_image(fs.cat_file(path), max_pixels=_MAX_PIXELS).rgb
    except ImageError:
        return None
    except store_errors():
        return None


def _sample(images: tuple[LabelledImage, ...], sample: int | None) -> tuple[LabelledImage, ...]:
    """`sample` of the images, in their order and with the share of fakes unchanged; the same for the same images."""
    if sample is None or sample >= len(images):
        return images
    draw = np.random.default_rng(0)
    fakes = [number for number, image in enumerate(images) if image.is_fake]
    reals = [number for number, image in enumerate(images) if not image.is_fake]
    wanted = round(sample * len(fakes) / len(images))
    chosen = [*draw.permutation(fakes)[:wanted], *draw.permutation(reals)[: sample - wanted]]
    return tuple(images[number] for number in sorted(chosen))


def _records(config: EvaluateConfig, usual_split: str) -> tuple[str, Iterator[LabelledImage]]:
    """The split that is read, and its images."""
    fs, path = config.data_store.filesystem(config.data)
    names = split_names(path, fs)
    split = config.split or (usual_split if usual_split in names and len(names) > 1 else None)
    dataset = open_dataset(path, fs, split=split, record_format=config.benchmark)
    scheme = scheme_of(config.data)
    # Paths in a web store are whole addresses already.
    root = "" if scheme in ("file", "http") else f"{scheme}://"
    return dataset.split, (_labelled(record, f"{root}{dataset.image_path(record)}") for record in dataset.records)


def _labelled(record: Record, uri: str) -> LabelledImage:
    maker = ""
    if record.is_fake:
        stated = (record.model_extra or {}).get("generator") or record.family
        maker = str(stated or _below_fake(record.image))
    return LabelledImage(uri, record.is_fake, record.cate, maker, record.source or uri, record.answer, record.image)


def _below_fake(path: str) -> str:
    """The folder below `fake` in a path; empty where there is none."""
    folders = path.split("/")[:-1]
    after = next((i + 1 for i, folder in enumerate(folders) if folder.lower() in _ABOVE_GENERATORS), len(folders))
    return folders[after] if after < len(folders) else ""


def _tree(config: EvaluateConfig) -> Iterator[LabelledImage]:
    if config.split is not None:
        raise UserError("split: a folder tree has no splits; name the folder of one as the data")
    source = open_source(config.data, config.data_store)
    unlabelled = 0
    for table in source:
        if source.kind != "objects":
            raise UserError(f"data: {redact(config.data)} is not a folder of images; unpack it, or name its folder")
        for entry in table.select(["uri", "size", "etag"]).to_pylist():
            uri = entry["uri"]
            path = _relative(uri, config.data)
            folders = path.lower().split("/")[:-1]
            place = max((number for number, folder in enumerate(folders) if folder in _LABELS), default=None)
            if place is None:
                unlabelled += 1
                continue
            is_fake = _LABELS[folders[place]]
            category = "/".join(path.split("/")[:place])
            maker = _below_fake(path) if is_fake else ""
            yield LabelledImage(uri, is_fake, category, maker, uri, "", path, entry["size"], entry["etag"])
    if unlabelled:
        raise UserError(
            f"data: {unlabelled:,} images of {redact(config.data)} are not in a folder named real or fake; "
            "move them, or name the folder around real and fake"
        )


def _relative(uri: str, root: str) -> str:
    """The path of an image relative to the root: folders above the root say nothing about it."""
    local = scheme_of(root) == "file"
    path, above = (file_path(uri), file_path(root)) if local else (uri.partition("://")[2], root.partition("://")[2])
    above = above.rstrip("/") + "/"
    return path.removeprefix(above) if path.startswith(above) else path.rpartition("/")[2]
