"""Finds what is wrong with the records of a dataset, all of it at once; `data validate` and training ask here."""

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from fakevlm.data.dataset import Dataset
from fakevlm.data.paths import path_fault
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.record import Record
from fakevlm.prompt import IMAGE_TOKEN, PromptSpec, quoted
from fakevlm.verdict import Verdict, parse_answer

MAX_SIDE = 100_000
"""A width or height above it, in pixels, is taken for a mistake."""


def check_records(splits: Sequence[Dataset], prompt: PromptSpec | None = None) -> list[DatasetProblem]:
    """What can be told of the splits of one dataset without their images, what could not be read included.

    `prompt` is that of the checkpoint to be trained; without one nothing is said about how answers begin.
    """
    problems: list[DatasetProblem] = []
    for dataset in splits:
        problems += dataset.faults
        for number, record in zip(dataset.numbers, dataset.records, strict=True):
            for kind, message in _faults(record, dataset, prompt):
                problems.append(DatasetProblem(kind, message, dataset.name, number, record.image))
    return [*problems, *_conflicts(splits), *_leaks(splits)]


def check_warnings(splits: Sequence[Dataset], prompt: PromptSpec) -> list[DatasetProblem]:
    """What training takes of the splits of one dataset, but makes no use of, asks otherwise or sees more than once.

    `prompt` is that of the checkpoint to be trained. All of a kind that is a warning.
    """
    problems: list[DatasetProblem] = []
    for dataset in splits:
        if not dataset.is_trainable:
            continue
        for number, record in zip(dataset.numbers, dataset.records, strict=True):
            for kind, message in _left_out(record, prompt):
                problems.append(DatasetProblem(kind, message, dataset.name, number, record.image))
    return [*problems, *_duplicates(splits)]


def warning_lines(problems: Iterable[DatasetProblem]) -> list[str]:
    """A line for each kind of warning among the problems: how many records, and the first of them."""
    first: dict[ProblemKind, DatasetProblem] = {}
    counts: Counter[ProblemKind] = Counter()
    for problem in problems:
        if problem.kind.is_warning:
            counts[problem.kind] += 1
            first.setdefault(problem.kind, problem)
    return [f"{kind}: {counts[kind]:,} records, such as {first[kind]}" for kind in ProblemKind if kind in first]


def _faults(record: Record, dataset: Dataset, prompt: PromptSpec | None) -> Iterator[tuple[ProblemKind, str]]:
    """What is wrong with a record by itself."""
    if fault := path_fault(record.image):
        yield ProblemKind.PATH, fault
    if record.cate not in dataset.categories:
        yield ProblemKind.CATEGORY, f"cate {record.cate!r} is not one of {', '.join(dataset.categories)}"
    if fault := _size_fault(record.width, record.height):
        yield ProblemKind.SIZE, fault
    if not dataset.is_trainable and not record.conversations:
        return  # a benchmark whose answers explain nothing
    broken = _conversation_fault(record)
    if broken is not None:
        yield ProblemKind.CONVERSATION, broken
    if not record.answer.strip():
        return  # said already
    stated, said = Verdict.FAKE if record.is_fake else Verdict.REAL, parse_answer(record.answer)
    if said is Verdict.UNCERTAIN:
        yield ProblemKind.UNCERTAIN, f"label {record.label} ({stated}), answer {quoted(record.answer)}"
    elif said is not stated:
        yield ProblemKind.LABEL, f"label {record.label} means {stated}, the answer says {said}: {quoted(record.answer)}"
    elif prompt and broken is None and dataset.is_trainable:
        fault = prompt.opening_fault(record.answer, record.is_fake)
        yield from ((ProblemKind.OPENING, fault),) if fault else ()


def _left_out(record: Record, prompt: PromptSpec) -> Iterator[tuple[ProblemKind, str]]:
    """What training makes no use of in a record whose conversation is sound."""
    if _conversation_fault(record) is not None:
        return
    if len(record.conversations) > 2:
        yield ProblemKind.TURNS, f"{len(record.conversations)} turns, of which the first two are trained on"
    if record.question and not prompt.asks(record.question):
        yield ProblemKind.QUESTION, f"asks {quoted(record.question)}, training asks {quoted(prompt.question)}"


def _size_fault(width: int | None, height: int | None) -> str | None:
    if width is None and height is None:
        return None
    if width is None or height is None:
        return f"width {width} and height {height}: one is missing"
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        return f"{width} x {height} pixels; each side must be from 1 to {MAX_SIDE:,}"
    return None


def _conversation_fault(record: Record) -> str | None:
    """What is wrong with the turns. The image belongs to the first question and is nowhere else."""
    turns = record.conversations
    if not turns:
        return "conversations is empty"
    speakers = [turn.from_ for turn in turns]
    if len(turns) % 2 or any(speaker != ("human", "gpt")[index % 2] for index, speaker in enumerate(speakers)):
        return f"the turns are {', '.join(speakers[:6])}; they must be pairs of human, gpt"
    if any(not turn.value.replace(IMAGE_TOKEN, "").strip() for turn in turns):
        return "a turn is empty"
    images = [turn.value.count(IMAGE_TOKEN) for turn in turns]
    if images[0] != 1 or sum(images) != 1:
        return f"{IMAGE_TOKEN} occurs {sum(images)} times; it must occur once, in the first question"
    return None


def _conflicts(splits: Sequence[Dataset]) -> Iterator[DatasetProblem]:
    """Images that one record calls real and another fake, each image once."""
    seen: dict[tuple[str, str], tuple[int, str, int]] = {}
    told: set[tuple[str, str]] = set()
    for dataset in splits:
        name = dataset.name
        for number, record in zip(dataset.numbers, dataset.records, strict=True):
            image = (dataset.root, posixpath.normpath(record.image))
            label, file, first = seen.setdefault(image, (record.label, name, number))
            if label != record.label and image not in told:
                told.add(image)
                message = f"label {record.label} here, {label} in {file} record {first}"
                yield DatasetProblem(ProblemKind.CONFLICT, message, name, number, record.image)


def _leaks(splits: Sequence[Dataset]) -> Iterator[DatasetProblem]:
    """Images, and sources that records name, that are in several splits: once for each split after the first."""
    seen: dict[tuple[str, str, str], tuple[str, int]] = {}
    told: set[tuple[str, str, str, str]] = set()
    for dataset in splits if len(splits) > 1 else ():
        name = dataset.name
        for number, record in zip(dataset.numbers, dataset.records, strict=True):
            keys = [("image", dataset.root, posixpath.normpath(record.image))]
            if record.source is not None:
                keys.append(("source", "", record.source))
            for key in keys:
                file, first = seen.setdefault(key, (name, number))
                if file != name and (*key, name) not in told:
                    told.add((*key, name))
                    message = f"{key[0]} {key[2]!r} is in {file} record {first} too"
                    yield DatasetProblem(ProblemKind.LEAK, message, name, number, record.image)


def _duplicates(splits: Sequence[Dataset]) -> Iterator[DatasetProblem]:
    """Records of a split whose image an earlier one has, with the same label; another label is a conflict."""
    for dataset in splits:
        if not dataset.is_trainable:
            continue
        seen: dict[str, tuple[int, int]] = {}
        for number, record in zip(dataset.numbers, dataset.records, strict=True):
            first, label = seen.setdefault(posixpath.normpath(record.image), (number, record.label))
            if first != number and label == record.label:
                yield DatasetProblem(
                    ProblemKind.DUPLICATE, f"is in record {first} too", dataset.name, number, record.image
                )
