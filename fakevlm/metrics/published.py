"""The paper's results (arXiv 2503.14905 v2), for comparison with those of an evaluation."""

from typing import NamedTuple

SOURCE = "arXiv 2503.14905 v2"


class PublishedRow(NamedTuple):
    """A model's results on a benchmark, in percent; None where the paper has none."""

    benchmark: str
    model: str
    """FakeVLM, a general model, or the best of the detectors that are not language models."""
    accuracy: float | None
    f1: float | None
    """F1 of the class real, as reproductions found: FakeVLM's F1 of class fake on FakeClue is 98.9."""
    rouge_l: float | None = None
    """F1 of the longest common subsequence with the reference explanation. Reproductions on FakeClue found 49.5."""
    css: float | None = None
    """Cosine similarity of sentence embeddings with it, by an encoder that the paper does not name; found: 32.2."""


ROWS = (
    PublishedRow("FakeClue", "FakeVLM", 98.6, 98.1, 58.0, 87.7),
    PublishedRow("FakeClue", "GPT-4o", 47.4, 42.0, 13.4, 40.7),
    PublishedRow("FakeClue", "Qwen2-VL-72B", 57.8, 56.5, 17.5, 54.4),
    PublishedRow("FakeClue", "NPR", 90.2, 91.6),
    PublishedRow("LOKI", "FakeVLM", 84.3, 83.7, 20.1, 58.2),
    PublishedRow("LOKI", "GPT-4o", 63.4, 57.2, 14.7, 35.4),
    PublishedRow("LOKI", "Qwen2-VL-72B", 55.4, 40.9, 17.3, 43.2),
    PublishedRow("LOKI", "NPR", 77.4, 80.0),
    PublishedRow("DD-VQA", "FakeVLM", 93.2, 93.1, 70.4, 86.6),
    PublishedRow("DD-VQA", "GPT-4o", 53.2, 31.7, 13.0, 42.7),
    PublishedRow("DD-VQA", "Qwen2-VL-72B", 59.5, 57.9, 20.5, 56.6),
    PublishedRow("DD-VQA", "Common-DF-TI", 87.5, 90.1, 60.9),
    PublishedRow("DMimage", "FakeVLM", 94.0, 94.3),
    PublishedRow("DMimage", "GPT-4o", None, None),
    PublishedRow("DMimage", "Qwen2-VL-72B", None, None),
    PublishedRow("DMimage", "SIDA", 91.8, 92.4),
)
"""FakeVLM first in each benchmark, the best non-LMM detector last."""

TEST_SETS = {"FakeClue": (5_000, 3_192), "LOKI": (2_217, 1_317)}
"""Images and fakes among them of the sets that the rows are of, where they are known."""


def rows_beside(benchmark: str, images: int, fakes: int) -> tuple[PublishedRow, ...]:
    """The rows that results on so many images may stand beside: those of a benchmark, for exactly its own set."""
    of_paper = {name.lower(): counts for name, counts in TEST_SETS.items()}.get(benchmark.lower())
    return published(benchmark) if of_paper == (images, fakes) else ()


def published(benchmark: str) -> tuple[PublishedRow, ...]:
    """The rows of a benchmark by its name in any case; empty for a set that the paper does not report on."""
    return tuple(row for row in ROWS if row.benchmark.lower() == benchmark.lower())
