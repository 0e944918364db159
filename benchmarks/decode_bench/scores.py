"""What `--decode fast` does to scores: photographs and their forged twins, and the benchmark's images, both ways."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.decode_bench.steps import MAX_PIXELS, stored
from benchmarks.gpu_bench.labelled import forged_pairs
from benchmarks.images import image_set, sample_photographs
from benchmarks.report import ROOT
from fakescan.engine.config import VllmConfig
from fakescan.engine.judged_values import judged_values
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.vllm_inprocess import InProcessEngine
from fakevlm.builtin import BUILT_IN
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.image_file import read_image
from fakevlm.image_file.signature import identify
from fakevlm.preprocess import Decoding, decode

EDGES = (512, 1024)
"""Sides of the forged files. The built-in model's input has 112 pixels: decoded at a half, and at a quarter."""
_MODES: tuple[Decoding, ...] = ("exact", "fast")

Labelled = tuple[bytes, bool | None]


def compare_scores(pairs: int) -> Iterator[tuple[str, ...]]:
    """Rows of figures for each set of files: differences of pixels and scores, and verdicts that change."""
    checkpoint = open_checkpoint(str(BUILT_IN))
    calibration = checkpoint.calibration
    engine = InProcessEngine(VllmConfig(), checkpoint, JudgingOptions(explain="none", calibration=calibration))
    try:
        for name, files in _sets(pairs):
            differences: dict[str, list[float]] = defaultdict(list)
            flips = 0
            labels: list[bool | None] = []
            scores: list[tuple[float, float]] = []
            for data, is_forged in files:
                exact, fast = (
                    decode(data, checkpoint.image, max_pixels=MAX_PIXELS, decoding=mode).pixels for mode in _MODES
                )
                if np.array_equal(exact, fast):  # not a JPEG, or too small to be decoded at less
                    continue
                first, second = (judged_values(one, calibration) for one in engine.judge([exact, fast]))
                differences["level"].append(float(np.abs(exact.astype(int) - fast).mean()))
                differences["score"].append(abs(first.score - second.score))
                differences["logit"].append(abs(first.logit - second.logit))
                flips += first.verdict != second.verdict
                labels.append(is_forged)
                scores.append((first.score, second.score))
            name = f"{len(scores)} {name}"
            for figure, numbers in differences.items():
                values = np.array(numbers)
                shown = ", ".join(f"{value:.4f}" for value in (*np.quantile(values, [0.5, 0.95]), values.max()))
                yield name, f"difference of the {figure}: median, 95 %, most", shown
            yield name, "verdicts that change", f"{flips}"
            if None not in labels:
                areas = (_auroc(labels, np.array(column)) for column in zip(*scores, strict=True))
                yield name, "AUROC exact, fast", ", ".join(f"{area:.4f}" for area in areas)
    finally:
        engine.close()


def _sets(pairs: int) -> Iterator[tuple[str, Iterable[Labelled]]]:
    for edge in EDGES:
        yield f"forged and not, {edge} pixels", _forged(pairs // len(EDGES), edge)
    files = image_set(ROOT / ".cache" / "benchmarks", 2048).files[: 2 * pairs]
    yield "of the benchmark's images", ((file.read_bytes(), None) for file in files)


def _forged(pairs: int, edge: int) -> Iterator[Labelled]:
    """JPEG files, a photograph's crop and its forged twin in turn."""
    photographs = [_at_least(photo, edge) for photo in sample_photographs()]
    for pair in forged_pairs(photographs, pairs, edge, seed=edge):
        yield from ((_as_jpeg(pair.real), False), (_as_jpeg(pair.fake), True))


def _as_jpeg(data: bytes) -> bytes:
    """A file as it is if it is a JPEG, else as one of quality 90."""
    return data if identify(data) == "JPEG" else stored(read_image(data, max_pixels=MAX_PIXELS).rgb)


def _at_least(photo: Image.Image, edge: int) -> Image.Image:
    factor = edge / min(photo.size)
    if factor <= 1:
        return photo
    size = (max(edge, round(photo.width * factor)), max(edge, round(photo.height * factor)))
    return photo.resize(size, Image.Resampling.BICUBIC)


def _auroc(labels: Sequence[bool | None], scores: NDArray[np.float64]) -> float:
    is_fake = np.array(labels, dtype=np.bool_)
    fakes, reals = scores[is_fake][:, None], scores[~is_fake]
    return float((fakes > reals).mean() + (fakes == reals).mean() / 2)
