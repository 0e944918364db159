"""Statistics of a dataset: counts per category and label, image sizes, lengths of answers, share of boilerplate."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fakevlm.data.checks import MAX_SIDE
from fakevlm.data.record import Record

_LABELS = ("fake", "real")


@dataclass(frozen=True, slots=True)
class Count:
    """How many records of one group are real and fake."""

    name: str
    real: int
    fake: int

    @property
    def total(self) -> int:
        """Records of the group."""
        return self.real + self.fake

    @property
    def fake_share(self) -> float:
        """Share of fakes in the group, 0 to 1."""
        return self.fake / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths and heights of the images with one label, as their records say."""

    label: str
    known: int
    """Records with both, and neither absurd."""
    smallest: tuple[int, int]
    """Least width and least height in pixels, not necessarily of one image."""
    median: tuple[int, int]
    largest: tuple[int, int]
    commonest: tuple[int, int]
    """The most frequent (width, height)."""
    commonest_share: float
    """Its share of the known ones, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of the records with one label."""

    label: str
    count: int
    median_words: float
    p95_words: float
    commonest: str
    """The most frequent answer, word for word."""
    commonest_share: float
    """Its share, 0 to 1: high means that a model can learn one sentence."""


@dataclass(frozen=True, slots=True)
class DatasetStats:
    """Everything that `fakescan data stats` shows."""

    categories: list[Count]
    """By name; the sum of all is `total`."""
    total: Count
    families: list[tuple[str, dict[str, int]]]
    """Family and its number of records by severity (`-` where there is none); empty when no record names a family."""
    sizes: list[Sizes]
    """Fake, then real, where there are any."""
    answers: list[Answers]
    """Fake, then real, where there are any."""


def dataset_stats(records: Iterable[Record]) -> DatasetStats:
    """Counts over all records once."""
    categories: defaultdict[str, Counter[str]] = defaultdict(Counter)
    families: defaultdict[str, Counter[str]] = defaultdict(Counter)
    sizes: dict[str, list[tuple[int, int]]] = {label: [] for label in _LABELS}
    answers: dict[str, Counter[str]] = {label: Counter() for label in _LABELS}
    for record in records:
        label = "fake" if record.is_fake else "real"
        categories[record.cate][label] += 1
        if record.family is not None:
            families[record.family][record.severity or "-"] += 1
        size = record.width or 0, record.height or 0
        if min(size) >= 1 and max(size) <= MAX_SIDE:
            sizes[label].append(size)
        answers[label][record.answer] += 1
    counts = [Count(name, found["real"], found["fake"]) for name, found in sorted(categories.items())]
    return DatasetStats(
        categories=counts,
        total=Count("all", sum(count.real for count in counts), sum(count.fake for count in counts)),
        families=[(name, dict(found)) for name, found in sorted(families.items())],
        sizes=[_sizes(label, found) for label, found in sizes.items() if found],
        answers=[_answers(label, found) for label, found in answers.items() if found],
    )


def _sizes(label: str, found: list[tuple[int, int]]) -> Sizes:
    commonest, count = min(Counter(found).items(), key=lambda item: (-item[1], item[0]))
    widths, heights = np.array(found, dtype=np.float64).T
    return Sizes(
        label=label,
        known=len(found),
        smallest=(int(widths.min()), int(heights.min())),
        median=(int(np.median(widths)), int(np.median(heights))),
        largest=(int(widths.max()), int(heights.max())),
        commonest=commonest,
        commonest_share=count / len(found),
    )


def _answers(label: str, found: Counter[str]) -> Answers:
    words = np.repeat([len(answer.split()) for answer in found], list(found.values()))
    commonest, count = min(found.items(), key=lambda item: (-item[1], item[0]))
    return Answers(
        label=label,
        count=found.total(),
        median_words=float(np.median(words)),
        p95_words=float(np.percentile(words, 95)),
        commonest=commonest,
        commonest_share=count / found.total(),
    )
