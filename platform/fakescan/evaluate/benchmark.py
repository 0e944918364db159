"""The labelled images of a benchmark: FakeClue, LOKI, DD-VQA, or any tree with folders named real and fake."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from fakescan.evaluate.config import EvaluateConfig
from fakescan.scan.config import ScanConfig
from fakescan.sources.source import open_source
from fakescan.storage.errors import store_errors
from fakescan.storage.store import Store
from fakescan.storage.url import file_path, redact, scheme_of
from fakescan.terminal.console import printable_line
from fakevlm.data.dataset import open_dataset, split_names
from fakevlm.data.formats.loki import POSITIONS
from fakevlm.data.labels import label_names
from fakevlm.data.record import FAKE, Record
from fakevlm.errors import ImageError, UserError
from fakevlm.image_file import read_image

logger = logging.getLogger(__name__)

_MAX_PIXELS: int = ScanConfig.model_fields["max_pixels"].default
_ABOVE_GENERATORS = ("fake", "manipulated_sequences")
"""Folders whose own folders are called after what made the images; the second is FaceForensics++'s."""
MAX_NAMED = 20
"""Images that were left out and are named; all of them are counted."""


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
    references: tuple[str, ...]
    """What good explanations say, each by itself; empty where there is none."""
    name: str = ""
    """Its path in the benchmark."""
    size: int | None = None
    """Bytes, where the listing says so."""
    etag: str | None = None
    positions: tuple[int, ...] = ()
    """Those of the items about it in the file of records, from 0; empty for one item, whose place says it."""


@dataclass(frozen=True)
class Benchmark:
    """The images of an evaluation, each once."""

    images: tuple[LabelledImage, ...]
    repeated: int
    """Records left out because their image had come before."""
    split: str | None
    """The file of records that was read."""
    documents: Mapping[int, int] = field(default_factory=dict)
    """Which of `images` an item of the file is about, by its position from 0."""
    left_out: int = 0
    """Images of a tree that no folder says the label of."""
    left_out_names: tuple[str, ...] = ()
    """The first of them."""


def read_benchmark(config: EvaluateConfig) -> Benchmark:
    """All images with their labels, in the order of the benchmark. Raises UserError when there are none."""
    whole = read_images(config, usual_split="test")
    return replace(whole, images=_sample(whole.images, config.sample))


def read_images(config: EvaluateConfig, *, usual_split: str) -> Benchmark:
    """All images of `config.data`, whatever `config.sample` says. Raises UserError when there are none."""
    split: str | None = None
    stray: list[str] = []
    if config.benchmark == "folder":
        images: Iterator[LabelledImage] = _tree(config, stray)
    else:
        split, images = _records(config, usual_split)
    unique: dict[str, LabelledImage] = {}
    places: dict[str, int] = {}
    documents: dict[int, int] = {}
    records = 0
    for position, image in enumerate(images):
        before = unique.setdefault(image.uri, image)
        place = places.setdefault(image.uri, len(places))
        documents |= dict.fromkeys(image.positions or (position,), place)
        records += 1
        if before.is_fake != image.is_fake:
            raise UserError(f"data: {redact(image.uri)} is called real and fake; see fakescan data validate")
    if not unique:
        why = f": {_stray(config, stray)}" if stray else ""
        raise UserError(f"data: {redact(config.data)} holds no labelled images{why}")
    if stray:
        logger.warning("data: %s", _stray(config, stray))
    repeated = records - len(unique)
    return Benchmark(tuple(unique.values()), repeated, split, documents, len(stray), tuple(stray[:MAX_NAMED]))


def _stray(config: EvaluateConfig, names: list[str]) -> str:
    """The line about images of a tree that are in no folder with a label."""
    folders = ", ".join(label_names(config.labels))
    shown = ", ".join(names[:3])
    return f"{len(names):,} images are in no folder named {folders} and are left out, such as {shown}; see --label"


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
    if config.labels:
        raise UserError("label: it names folders, and is for --benchmark folder only; leave it out")
    fs, path = config.data_store.filesystem(config.data)
    names = split_names(path, fs)
    split = config.split or (usual_split if usual_split in names and len(names) > 1 else None)
    folder = None if config.image_folder is None else config.data_store.filesystem(config.image_folder)[1]
    dataset = open_dataset(
        path, fs, split=split, record_format=config.benchmark, image_root=config.image_root, image_folder=folder
    )
    scheme = scheme_of(config.data)
    # Paths in a web store are whole addresses already.
    root = "" if scheme in ("file", "http") else f"{scheme}://"
    is_published = not dataset.is_trainable
    return dataset.split, (
        _labelled(record, f"{root}{dataset.image_path(record)}", is_published=is_published)
        for record in dataset.records
    )


def _labelled(record: Record, uri: str, *, is_published: bool) -> LabelledImage:
    maker = ""
    if record.is_fake:
        stated = (record.model_extra or {}).get("generator") or record.family
        maker = str(stated or _below_fake(record.image))
    # As published, where the record had to be worded otherwise. FakeClue's own fields of such names mean nothing here.
    more = (record.model_extra or {}) if is_published else {}
    references = tuple(text for text in more.get("answers") or [record.answer] if text)
    return LabelledImage(
        uri, record.is_fake, record.cate, maker, record.source or uri, references, record.image,
        positions=tuple(more.get(POSITIONS, ())),
    )  # fmt: skip


def _below_fake(path: str) -> str:
    """The folder below `fake` in a path; empty where there is none."""
    folders = path.split("/")[:-1]
    after = next((i + 1 for i, folder in enumerate(folders) if folder.lower() in _ABOVE_GENERATORS), len(folders))
    return folders[after] if after < len(folders) else ""


def _tree(config: EvaluateConfig, stray: list[str]) -> Iterator[LabelledImage]:
    """The images of a tree by the folders above them; paths of those that none of them labels go to `stray`."""
    if config.split is not None:
        raise UserError("split: a folder tree has no splits; name the folder of one as the data")
    for name in ("image_root", "image_folder"):
        if getattr(config, name) is not None:
            raise UserError(f"{name}: a folder tree has no records whose paths it could be of; leave it out")
    labels = label_names(config.labels)
    source = open_source(config.data, config.data_store)
    for table in source:
        if source.kind != "objects":
            raise UserError(f"data: {redact(config.data)} is not a folder of images; unpack it, or name its folder")
        for entry in table.select(["uri", "size", "etag"]).to_pylist():
            uri = entry["uri"]
            path = _relative(uri, config.data)
            folders = path.lower().split("/")[:-1]
            place = max((number for number, folder in enumerate(folders) if folder in labels), default=None)
            if place is None:
                stray.append(printable_line(path))
                continue
            is_fake = labels[folders[place]] == FAKE
            category = "/".join(path.split("/")[:place])
            maker = path.split("/")[place + 1] if is_fake and place + 1 < len(folders) else ""
            yield LabelledImage(uri, is_fake, category, maker, uri, (), path, entry["size"], entry["etag"])


def _relative(uri: str, root: str) -> str:
    """The path of an image relative to the root: folders above the root say nothing about it."""
    local = scheme_of(root) == "file"
    path, above = (file_path(uri), file_path(root)) if local else (uri.partition("://")[2], root.partition("://")[2])
    above = above.rstrip("/") + "/"
    return path.removeprefix(above) if path.startswith(above) else path.rpartition("/")[2]
