"""Accuracy of a file of generated answers, without a model; by our reading of them and by upstream's."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.benchmark import Benchmark, LabelledImage, read_images
from fakescan.evaluate.config import EvaluateConfig
from fakescan.evaluate.measure import measure_texts
from fakescan.evaluate.results import METRICS, Defined, Scores, Texts, scores
from fakescan.evaluate.table import percent, print_scores, span, text_remarks
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.objects import put_atomic
from fakescan.storage.preflight import check_writable
from fakescan.terminal.tables import Column, print_fitting, wide_console
from fakevlm.data.formats.loki import asked_label, yes_or_no
from fakevlm.data.formats.wording import verdict_sentence
from fakevlm.data.paths import below
from fakevlm.data.record import FAKE, REAL
from fakevlm.errors import UserError
from fakevlm.metrics.answers_file import ModelAnswer, read_answers
from fakevlm.metrics.classification import accuracy, f1, wilson
from fakevlm.metrics.paper_parser import Reason, disagreements, upstream_verdict
from fakevlm.verdict import Calibration, Verdict, calibrated, parse_answer

MAX_SHOWN = 20
"""Disagreements that are printed; all of them are counted."""


class VerdictCounts(StrictModel):
    """Accuracy and F1 of verdicts that were read from the answers."""

    recall_fake: Defined
    """Share of the fake images whose answer says fake; null without any, and where a coin decides some answers."""
    precision_fake: Defined
    """Share of fake ones among the images whose answer says so."""
    accuracy: float
    accuracy_low: float
    """95 % Wilson interval."""
    accuracy_high: float
    f1_fake: Defined
    """Null where the class is absent, and where a coin decides some of the answers."""
    f1_real: Defined
    """The paper's F1."""
    undecided: int
    """Answers without a verdict: by our rule they are wrong, upstream's tosses a coin and is right for half of them."""


class AnswerDisagreement(StrictModel):
    """One answer that both rules read differently."""

    image: str
    ours: Verdict
    upstream: Verdict | None
    """Null for a coin toss."""
    reason: Reason
    text: str


class AnswersResults(StrictModel):
    """An evaluation of answers."""

    answers: int
    fakes: int
    unanswered: int
    """Labelled images without an answer; they are counted in no other number."""
    yes_or_no: int = 0
    """Answers Yes or No to a question whether the image is real, or whether it is generated, read as such."""
    ours: VerdictCounts
    upstream: VerdictCounts
    disagreements: dict[str, int]
    """Answers that both rules read differently, by the reason."""
    differing: list[AnswerDisagreement]
    """All of them."""
    texts: Texts | None
    threshold: float
    """Score from which an image counts as fake."""
    scored: Scores | None
    """Numbers from the scores, where every answer has one."""


def run_answers(file: Path, config: EvaluateConfig | None, threshold: float | None = None) -> AnswersResults:
    """Count the answers of a file, by the scores with this threshold (default: 0.5). Raises UserError.

    The labels are in the file, or in the data that `config` names.
    """
    threshold = 0.5 if threshold is None else threshold
    if not 0 < threshold < 1:
        raise UserError(f"threshold: {threshold:g} is not between 0 and 1")
    answers = read_answers(file)
    known = None if config is None else read_images(config, usual_split="test")
    images = _labelled(answers, config, known)
    said = [_yes_or_no(answer) for answer in answers]
    texts = [verdict or answer.text for verdict, answer in zip(said, answers, strict=True)]
    truth = np.array([image.is_fake for image in images], dtype=np.bool_)
    different = disagreements(texts)
    results = AnswersResults(
        answers=len(answers),
        fakes=int(truth.sum()),
        unanswered=len(known.images) - len({image.uri for image in images}) if known else 0,
        yes_or_no=sum(verdict is not None for verdict in said),
        ours=_counted(truth, [parse_answer(text) for text in texts], coin=0.0),
        upstream=_counted(truth, [upstream_verdict(text) for text in texts], coin=0.5),
        disagreements=dict(Counter(str(one.reason) for one in different).most_common()),
        differing=[
            AnswerDisagreement(
                image=answers[one.index].image,
                ours=one.ours,
                upstream=one.upstream,
                reason=one.reason,
                text=one.text,
            )
            for one in different
        ],
        texts=measure_texts([image.references for image in images], [answer.text for answer in answers]),
        threshold=threshold,
        scored=_scored(truth, answers, threshold),
    )
    if config is not None and config.output:
        check_writable(config.output, config.output_store)
        fs, path = config.output_store.filesystem(config.output)
        put_atomic(fs, f"{path}/{METRICS}", (results.model_dump_json(indent=1) + "\n").encode())
    return results


def _yes_or_no(answer: ModelAnswer) -> str | None:
    """In FakeClue's words what Yes or No to the question says; None for any other answer or question."""
    yes, asked = yes_or_no(answer.text), asked_label(answer.question)
    if yes is None or asked is None:
        return None
    return verdict_sentence(asked if yes else (REAL if asked == FAKE else FAKE))


def _labelled(
    answers: Sequence[ModelAnswer], config: EvaluateConfig | None, known: Benchmark | None
) -> list[LabelledImage]:
    """The image of each answer."""
    if config is None or known is None:
        unlabelled = [answer.image for answer in answers if _label(answer) is None]
        if unlabelled:
            raise UserError(
                f"answers: {len(unlabelled):,} have no label, such as {unlabelled[0]!r}; name the dataset with --data"
            )
        return [_self_labelled(answer) for answer in answers]
    names = _Names.of(known.images)
    found = [_find(answer, known, names, config.image_root) for answer in answers]
    unknown = [answer.image for answer, image in zip(answers, found, strict=True) if image is None]
    if unknown:
        raise UserError(
            f"answers: {len(unknown):,} are of images that {config.data} does not have, such as {unknown[0]!r}"
        )
    images = [image for image in found if image is not None]
    seen: set[tuple[str, str]] = set()
    for answer, image in zip(answers, images, strict=True):
        if answer.label is not None and (answer.label == FAKE) != image.is_fake:
            raise UserError(f"answers: {answer.image!r} has label {answer.label} here and the other in {config.data}")
        if (image.uri, answer.question) in seen:
            raise UserError(f"answers: {answer.image!r} is answered twice, under two names")
        seen.add((image.uri, answer.question))
    return images


def _self_labelled(answer: ModelAnswer) -> LabelledImage:
    references = (answer.reference,) if len(answer.reference.split()) > 1 else ()  # Yes or a label explains nothing
    return LabelledImage(answer.image, _label(answer) is Verdict.FAKE, "", "", answer.image, references)


def _label(answer: ModelAnswer) -> Verdict | None:
    """What the image is, by the answer's label or by the reference answer beside it; None where neither says it."""
    if answer.label is not None:
        return Verdict.FAKE if answer.label == FAKE else Verdict.REAL
    said = parse_answer(answer.reference)
    yes, asked = yes_or_no(answer.reference), asked_label(answer.question)
    if yes is not None and asked is not None:
        return Verdict.FAKE if yes == (asked == FAKE) else Verdict.REAL
    return None if said is Verdict.UNCERTAIN else said


class _Names(NamedTuple):
    """Images by what a file of answers may call them."""

    whole: dict[str, LabelledImage]
    """By the path in the dataset, and by the URI."""
    last: dict[str, LabelledImage]
    """By the last part of the path, where no other image has it."""

    @classmethod
    def of(cls, images: Sequence[LabelledImage]) -> "_Names":
        """The names of these images."""
        count = Counter(image.name.rpartition("/")[2] for image in images)
        last = {name: image for image in images if count[name := image.name.rpartition("/")[2]] == 1}
        return cls({image.uri: image for image in images} | {image.name: image for image in images}, last)


def _find(answer: ModelAnswer, known: Benchmark, names: _Names, image_root: str | None) -> LabelledImage | None:
    """The image that an answer names: by its path, by one that ends with it, or by the file's name alone."""
    if answer.document is not None:
        place = known.documents.get(answer.document)
        return None if place is None else known.images[place]
    rest = None if image_root is None else below(answer.image, image_root)
    path = rest or answer.image
    if path in names.whole:
        return names.whole[path]
    parts = path.replace("\\", "/").split("/")
    ends = ("/".join(parts[at:]) for at in range(len(parts)))
    return next((names.whole[end] for end in ends if end in names.whole), names.last.get(path))


def _counted(truth: NDArray[np.bool_], verdicts: Sequence[Verdict | None], *, coin: float) -> VerdictCounts:
    """Count verdicts; those that decide nothing are right with the probability `coin`."""
    decided = np.array([verdict in (Verdict.REAL, Verdict.FAKE) for verdict in verdicts], dtype=np.bool_)
    fake = np.array([verdict is Verdict.FAKE for verdict in verdicts], dtype=np.bool_)
    # An answer without a verdict is wrong.
    said = np.where(decided, fake, ~truth)
    undecided = int((~decided).sum())
    right = accuracy(truth, said) + coin * undecided / len(truth)
    interval = wilson(round(right * len(truth)), len(truth))
    # Coins leave F1 without a value.
    tossed = coin and undecided
    called = decided & fake
    return VerdictCounts(
        recall_fake=None if tossed or not truth.any() else float(called[truth].mean()),
        precision_fake=None if tossed or not called.any() else float(truth[called].mean()),
        accuracy=right,
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        f1_fake=None if tossed else f1(truth, said),
        f1_real=None if tossed else f1(~truth, ~said),
        undecided=undecided,
    )


def _scored(truth: NDArray[np.bool_], answers: Sequence[ModelAnswer], threshold: float) -> Scores | None:
    """All numbers of the answers' scores, or of their logits without a calibration; None unless all have the same."""
    score = _column([answer.score for answer in answers])
    logit = _column([answer.logit for answer in answers])
    if score is None and logit is not None:
        score = calibrated(logit, Calibration())
    if score is None:
        return None
    verdicts = np.where(score >= threshold, "fake", "real").tolist()
    return scores(truth, score, score if logit is None else logit, verdicts, threshold)


def _column(values: Sequence[float | None]) -> NDArray[np.float64] | None:
    """float64[n]; None where one is missing."""
    return None if any(value is None for value in values) else np.array(values, dtype=np.float64)


def print_answers(results: AnswersResults) -> None:
    """Print both ways of counting side by side, and where they differ."""
    console = wide_console()
    title = f"{results.answers:,} answers, {results.fakes:,} of them to fake images, %"
    columns = ("recall", "precision", "Acc", "95 % interval", "uncertain", "F1 real", "F1 fake")
    rows = []
    for counted in (results.ours, results.upstream):
        first = (counted.recall_fake, counted.precision_fake, counted.accuracy)
        interval = span(counted.accuracy_low, counted.accuracy_high)
        last = (counted.undecided / results.answers, counted.f1_real, counted.f1_fake)
        rows.append([*(percent(value) for value in first), interval, *(percent(value) for value in last)])
    names = Column("verdicts read by", ["fakescan", "upstream's rule"])
    numbers = [Column(name, cells) for name, cells in zip(columns, zip(*rows, strict=True), strict=True)]
    print_fitting(console, title, names, numbers, ("F1 fake", "95 % interval", "F1 real"))
    print(f"uncertain: {results.ours.undecided:,} answers, which count as wrong")
    if results.upstream.undecided:
        print("upstream tosses a coin where it finds no verdict: half of those count as right, and F1 is left out")
    if results.scored is not None:
        print_scores(console, f"from the scores, at the threshold {results.threshold:g}, %", results.scored)
    for line in text_remarks(results.texts):
        console.print(line, soft_wrap=True)
    if results.yes_or_no:
        print(f"{results.yes_or_no:,} answers are Yes or No to a question for real or for generated, and are read so")
    if results.unanswered:
        print(f"warning: {results.unanswered:,} labelled images have no answer and are left out")
    print(f"read differently: {len(results.differing):,} answers")
    for reason, count in results.disagreements.items():
        print(f"  {reason:<16} {count:>8,}")
    for one in results.differing[:MAX_SHOWN]:
        text = " ".join(one.text.split())
        shown = text if len(text) <= 100 else f"{text[:99]}…"
        print(f"  {one.image}: ours {one.ours}, upstream {one.upstream or 'a coin toss'}: {shown!r}")
    if len(results.differing) > MAX_SHOWN:
        print(f"  … and {len(results.differing) - MAX_SHOWN:,} more (all are in {METRICS} of --output)")
