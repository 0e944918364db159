"""Makes labelled records into what the model is trained on: token ids, and labels on the answer alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fakevlm.checkpoint.config_files import image_token_id, read_config
from fakevlm.checkpoint.tokens import PromptTokens
from fakevlm.data.dataset import Dataset
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.record import Record
from fakevlm.errors import UserError
from fakevlm.preprocess import ImageSpec, Pixels
from fakevlm.prompt import PromptSpec

IGNORED = -100
"""Label of a token that the loss leaves out."""


class TokenizedSample(NamedTuple):
    """The tokens of one record."""

    ids: NDArray[np.int64]
    """Tokens of prompt and answer, int64[length], with all image tokens."""
    answer: int
    """Position of the answer's first token; the loss counts from here to the end-of-sequence token."""


@dataclass(frozen=True)
class Batch:
    """Samples of one forward pass, padded on the right to the longest of them."""

    input_ids: NDArray[np.int64]
    """int64[rows, length]."""
    attention_mask: NDArray[np.int64]
    """int64[rows, length], 0 on padding."""
    labels: NDArray[np.int64]
    """int64[rows, length], IGNORED outside the answers and everywhere in rows that only fill up."""
    pixel_values: NDArray[np.float32]
    """float32[rows, 3, height, width], rescaled and normalised."""
    weights: NDArray[np.float32] | None = None
    """float32[rows], how much each token of a row's answer counts in the loss; None: all count 1."""

    @property
    def answer_tokens(self) -> int:
        """Tokens that the loss counts."""
        return int((self.labels[:, 1:] != IGNORED).sum())

    @property
    def answer_weight(self) -> float:
        """The same with each token as much as its row counts: what the loss is divided by."""
        if self.weights is None:
            return float(self.answer_tokens)
        return float(((self.labels[:, 1:] != IGNORED).sum(axis=1) * self.weights.astype(np.float64)).sum())


class Collator:
    """Makes samples and batches for a checkpoint."""

    def __init__(self, folder: Path, prompt: PromptSpec, image_tokens: int) -> None:
        self._tokens = PromptTokens(folder)
        config = read_config(folder)
        self._image_token = image_token_id(config)
        text = config.get("text_config", {})
        self._end: int = config.get("eos_token_id", text.get("eos_token_id", 2)) or 2
        self.pad: int = config.get("pad_token_id") or self._end
        self._image_tokens = image_tokens
        self._prompt = prompt.text(answer_prefix=False)
        self._spec = prompt
        self._prefix = prompt.answer_prefix
        self._before = self._tokens.encode(self._prompt)

    def encode(self, record: Record) -> TokenizedSample:
        """The tokens of a record's answer after the checkpoint's prompt. Raises UserError naming the image.

        The checkpoint's own question is asked, whatever the record says: a model has one prompt.
        """
        answer = record.answer.strip()
        if fault := self._spec.opening_fault(answer, record.is_fake):
            raise UserError(f"data: the answer of {record.image} {fault}")
        ids = self._tokens.encode(f"{self._prompt} {answer}")
        if ids[: len(self._before)] != self._before:
            raise UserError(f"data: the answer of {record.image} changes the tokens of the prompt before it")
        whole = [*self._with_image(ids), self._end]
        return TokenizedSample(np.array(whole, dtype=np.int64), len(self._before) - 1 + self._image_tokens)

    def problems(self, dataset: Dataset, max_length: int) -> Iterator[DatasetProblem]:
        """The records that cannot be trained on with this checkpoint: too long, or of another tokenisation.

        Records whose answer begins otherwise than the prompt needs are left to `check_records`.
        """
        for number, record in zip(dataset.numbers, dataset.records, strict=True):
            if self._spec.opening_fault(record.answer, record.is_fake):
                continue
            try:
                length = len(self.encode(record).ids)
            except UserError as error:
                message = str(error).removeprefix("data: ")
                yield DatasetProblem(ProblemKind.CONVERSATION, message, dataset.name, number, record.image)
                continue
            if length > max_length:
                message = f"{length} tokens, above {max_length}"
                yield DatasetProblem(ProblemKind.LENGTH, message, dataset.name, number, record.image)

    def lengths(self, records: Sequence[Record], max_length: int) -> NDArray[np.int64]:
        """Tokens of every record, int64[records]. Raises UserError for the longest where one is over `max_length`."""
        counts = np.array([len(self.encode(record).ids) for record in records], dtype=np.int64)
        over = np.flatnonzero(counts > max_length)
        if len(over):
            longest = int(over[np.argmax(counts[over])])
            raise UserError(
                f"max_length: {records[longest].image} has {counts[longest]} tokens, above {max_length}, and "
                f"{len(over) - 1} more are too long; raise max_length to {counts.max()} or shorten the answers"
            )
        return counts

    def prompt_ids(self, text: str) -> NDArray[np.int64]:
        """The tokens of a prompt with its image tokens, int64[length]."""
        return np.array(self._with_image(self._tokens.encode(text)), dtype=np.int64)

    def _with_image(self, ids: list[int]) -> list[int]:
        """Tokens with as many image tokens as an image takes in place of the one."""
        at = ids.index(self._image_token)
        return [*ids[:at], *[self._image_token] * self._image_tokens, *ids[at + 1 :]]

    def batch(
        self,
        samples: Sequence[TokenizedSample],
        pixels: Sequence[Pixels],
        spec: ImageSpec,
        *,
        rows: int,
        weights: Sequence[float] | None = None,
    ) -> Batch:
        """A batch of `rows` rows. Where there are fewer samples, rows without labels fill it up.

        `weights` says how much each sample counts in the loss; None: all count 1.

        With no sample at all the filling is the bare prompt, because every worker has to compute something.
        """
        filling = samples[0] if samples else TokenizedSample(self.prompt_ids(f"{self._prompt} {self._prefix}"), 0)
        filled = [*samples, *[filling] * (rows - len(samples))]
        length = max(len(sample.ids) for sample in filled)
        input_ids = np.full((rows, length), self.pad, dtype=np.int64)
        mask = np.zeros((rows, length), dtype=np.int64)
        labels = np.full((rows, length), IGNORED, dtype=np.int64)
        for row, sample in enumerate(filled):
            input_ids[row, : len(sample.ids)] = sample.ids
            mask[row, : len(sample.ids)] = 1
            if row < len(samples):
                labels[row, sample.answer : len(sample.ids)] = sample.ids[sample.answer :]
        images = np.zeros((rows, spec.height, spec.width, 3), dtype=np.uint8)
        for row, image in enumerate(pixels):
            images[row] = image
        counts = None
        if weights is not None:
            counts = np.zeros(rows, dtype=np.float32)
            counts[: len(weights)] = weights
        return Batch(input_ids, mask, labels, normalise(images, spec), counts)


def normalise(pixels: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.float32]:
    """From uint8[rows, height, width, 3] to float32[rows, 3, height, width] as the checkpoint's processor does."""
    values = pixels.astype(np.float32)
    if spec.rescale_factor is not None:
        values *= np.float32(spec.rescale_factor)
    if spec.image_mean is not None and spec.image_std is not None:
        values -= np.array(spec.image_mean, dtype=np.float32)
        values /= np.array(spec.image_std, dtype=np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
