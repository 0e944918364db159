"""The labelled images of a benchmark: FakeClue, LOKI, DD-VQA, or any tree with folders named real and fake."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fakescan.address import redact, scheme_of
from fakescan.evaluate.config import EvaluateConfig
from fakescan.sources import open_source
from fakescan.store import Store
from fakevlm.dataset import open_dataset, split_names
from fakevlm.dataset_place import is_local
from fakevlm.errors import UserError
from fakevlm.record import Record

_LABELS = {"real": False, "fake": True}
"""Whether an image is fake, by the name of a folder above it."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image whose truth is known."""

    uri: str
    is_fake: bool
    category: str
    """What it shows; empty where nobody says."""
    generator: str
    """What made it; empty for a real image and where nobody says."""
    source: str
    """Photograph or video that it was made from; its URI where nobody says."""
    reference: str
    """What a good explanation says; empty where there is none."""


@dataclass(frozen=True)
class Benchmark:
    """The images of an evaluation, each once."""

    images: tuple[Labelled, ...]
    repeated: int
    """Records left out because their image had come before."""


def read_benchmark(config: EvaluateConfig) -> Benchmark:
    """All images with their labels, in the order of the benchmark. Raises UserError when there are none."""
    images, repeated = read_images(config, usual_split="test")
    return Benchmark(_drawn(images, config.sample), repeated)


def read_images(config: EvaluateConfig, *, usual_split: str) -> tuple[tuple[Labelled, ...], int]:
    """All images of `config.data`, each once, and how many came again. Raises UserError when there are none."""
    found = _tree(config) if config.benchmark == "folder" else _records(config, usual_split)
    unique: dict[str, Labelled] = {}
    repeated = 0
    for image in found:
        before = unique.setdefault(image.uri, image)
        if before is image:
            continue
        repeated += 1
        if before.is_fake != image.is_fake:
            raise UserError(f"data: {redact(image.uri)} is called real and fake; see fakescan data validate")
    if not unique:
        raise UserError(f"data: {redact(config.data)} holds no labelled images")
    return tuple(unique.values()), repeated


def _drawn(images: tuple[Labelled, ...], sample: int | None) -> tuple[Labelled, ...]:
    """`sample` of the images with the share of fakes that all have, in their order; the same for the same images."""
    if sample is None or sample >= len(images):
        return images
    draw = np.random.default_rng(0)
    fakes = [number for number, image in enumerate(images) if image.is_fake]
    reals = [number for number, image in enumerate(images) if not image.is_fake]
    wanted = round(sample * len(fakes) / len(images))
    chosen = [*draw.permutation(fakes)[:wanted], *draw.permutation(reals)[: sample - wanted]]
    return tuple(images[number] for number in sorted(chosen))


def _records(config: EvaluateConfig, usual_split: str) -> Iterator[Labelled]:
    fs, path = config.data_store.filesystem(config.data)
    names = split_names(path, fs)
    split = config.split or (usual_split if usual_split in names and len(names) > 1 else None)
    dataset = open_dataset(path, fs, split=split, record_format=config.benchmark)
    scheme = "" if is_local(fs) else f"{scheme_of(config.data)}://"
    for record in dataset.records:
        uri = f"{scheme}{dataset.image_path(record)}"
        maker = _maker(record) if record.is_fake else ""
        yield Labelled(uri, record.is_fake, record.cate, maker, record.source or uri, record.answer)


def _maker(record: Record) -> str:
    """The generator that a record names, the family of a forged one, or the folder below `fake` in its path."""
    stated = (record.model_extra or {}).get("generator") or record.family
    return str(stated) if stated else _below_fake(record.image)


def _below_fake(path: str) -> str:
    folders = path.split("/")[:-1]
    lower = [folder.lower() for folder in folders]
    after = lower.index("fake") + 1 if "fake" in lower else len(folders)
    return folders[after] if after < len(folders) else ""


def _tree(config: EvaluateConfig) -> Iterator[Labelled]:
    if config.split is not None:
        raise UserError("split: a folder tree has none; name the tree of the split as the data")
    root = _root(config.data, config.data_store)
    unlabelled = 0
    for table in open_source(config.data, config.data_store):
        for uri in table["uri"].to_pylist():
            path = uri.removeprefix(root).lstrip("/")
            folders = path.lower().split("/")[:-1]
            label = next((_LABELS[folder] for folder in reversed(folders) if folder in _LABELS), None)
            if label is None:
                unlabelled += 1
                continue
            above = [part for part in path.split("/")[: _depth(folders)] if part]
            yield Labelled(uri, label, "/".join(above), _below_fake(path) if label else "", uri, "")
    if unlabelled:
        raise UserError(
            f"data: {unlabelled:,} images of {redact(config.data)} stand below no folder named real or fake; "
            "move them, or name the folder around real and fake"
        )


def _depth(folders: list[str]) -> int:
    """How many folders are above the last one that labels."""
    return max(number for number, folder in enumerate(folders) if folder in _LABELS)


def _root(data: str, store: Store) -> str:
    filesystem, path = store.filesystem(data)
    return posixpath.normpath(path) if is_local(filesystem) else f"{scheme_of(data)}://{path}"
