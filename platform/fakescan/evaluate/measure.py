"""From labels and scores to the numbers of an evaluation."""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.benchmark import Benchmark
from fakescan.evaluate.config import EvaluateConfig
from fakescan.evaluate.duplicates import Duplicates
from fakescan.evaluate.judged import JudgedImages
from fakescan.evaluate.results import Controls, GeneratorScores, Results, Scores, Texts, scores
from fakescan.run.own_words import overruled
from fakescan.storage.url import redact
from fakevlm.metrics.classification import auroc, auroc_interval, wilson
from fakevlm.metrics.distortion import NONE
from fakevlm.metrics.header_baseline import SEPARABLE, headers_auroc
from fakevlm.metrics.text import SentenceEncoder, boilerplate, open_encoder, rouge_l


def measure(
    config: EvaluateConfig, benchmark: Benchmark, judged: dict[str, JudgedImages], duplicates: Duplicates | None
) -> Results:
    """All numbers of `judged`, which has the images as they are under `none`; no `duplicates` if none were sought."""
    clean = judged[NONE]
    run = clean.run
    calibration = run.identity.ask.calibration
    said = [text or "" for text in clean.rows["explanation"].to_pylist()]
    by_condition = {name: _scores(of) for name, of in judged.items()}
    return Results(
        benchmark=config.benchmark,
        data=redact(config.data),
        split=benchmark.split,
        model=run.model,
        weights_sha256=run.identity.weights_sha256,
        warning=run.warning,
        meaning=run.known_meaning,
        prompt_format=run.identity.prompt.prompt_format,
        temperature=calibration.temperature,
        bias=calibration.bias,
        threshold=calibration.threshold,
        sampled=config.sample is not None,
        repeated=benchmark.repeated,
        left_out=benchmark.left_out,
        left_out_names=list(benchmark.left_out_names),
        errors=clean.errors,
        overall=by_condition[NONE],
        categories={name: _scores(clean, mask) for name, mask in _groups([one.category for one in clean.images])},
        generators={name: _generator(clean, mask) for name, mask in _groups([one.generator for one in clean.images])},
        texts=_texts(clean, said) if config.explain else None,
        controls=_controls(config, clean, duplicates),
        conditions=by_condition if len(judged) > 1 else {},
    )


def _scores(judged: JudgedImages, mask: NDArray[np.bool_] | None = None) -> Scores:
    chosen = slice(None) if mask is None else mask
    threshold = judged.run.identity.ask.calibration.threshold
    of = (judged.is_fake[chosen], judged.score[chosen], judged.logit[chosen], judged.verdict[chosen].tolist())
    return scores(*of, threshold)


def _groups(names: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    """The images of each name as bool[n], the largest group first; images without a name are in none."""
    all_names = np.array(names, dtype=object)
    groups = [(name, all_names == name) for name in sorted(set(names) - {""})]
    return sorted(groups, key=lambda group: -int(group[1].sum()))


def _generator(judged: JudgedImages, mask: NDArray[np.bool_]) -> GeneratorScores:
    said = judged.score[mask] >= judged.run.identity.ask.calibration.threshold
    interval = wilson(int(said.sum()), len(said))
    beside = mask | ~judged.is_fake
    order = auroc(judged.is_fake[beside], judged.logit[beside])
    order_interval = auroc_interval(order, len(said), int((~judged.is_fake).sum()))
    return GeneratorScores(
        fakes=len(said),
        found=float(said.mean()),
        found_low=interval.low,
        found_high=interval.high,
        auroc=order,
        auroc_low=order_interval.low,
        auroc_high=order_interval.high,
    )


def _texts(clean: JudgedImages, said: Sequence[str]) -> Texts:
    texts = measure_texts([image.references for image in clean.images], said)
    turned = sum(
        bool(text) and bool(other) for text, other in zip(said, overruled(clean.rows).to_pylist(), strict=True)
    )
    return texts.model_copy(update={"other_word": turned})


def measure_texts(references: Sequence[Sequence[str]], texts: Sequence[str]) -> Texts:
    """Compare texts with their references, each with the nearest of its own, and with each other.

    Where there are no references, a text is not compared.
    """
    pairs = [
        (number, reference, text)
        for number, (known, text) in enumerate(zip(references, texts, strict=True))
        for reference in known
    ]
    numbers = np.array([number for number, _, _ in pairs], dtype=np.int64)
    known, said = [reference for _, reference, _ in pairs], [text for _, _, text in pairs]
    repeats = boilerplate([text for text in texts if text])
    encoder = _encoder() if pairs else None
    return Texts(
        explained=sum(bool(text) for text in texts),
        compared=len(np.unique(numbers)),
        rouge_l=_mean(_nearest(numbers, rouge_l(known, said))),
        css=_mean(_nearest(numbers, encoder.cosine(known, said))) if encoder else None,
        encoder=f"{encoder.name} {encoder.revision}" if encoder else None,
        most_common=repeats.most_common,
        most_common_share=repeats.most_common_share,
        distinct_1=repeats.distinct_1,
        distinct_2=repeats.distinct_2,
        distinct_texts=repeats.distinct_texts,
    )


@functools.cache
def _encoder() -> SentenceEncoder:
    """The encoder of this process: loading takes seconds."""
    return open_encoder()


def _nearest(numbers: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The greatest value of each number, of those that are defined."""
    if not len(numbers):
        return values
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    greatest: NDArray[np.float64] = np.fmax.reduceat(values, starts)
    return greatest


def _controls(config: EvaluateConfig, judged: JudgedImages, duplicates: Duplicates | None) -> Controls:
    formats, widths, heights = (judged.rows[name].to_pylist() for name in ("format", "width", "height"))
    sources = [image.source for image in judged.images]
    by_headers = headers_auroc(judged.is_fake, formats, widths, heights, groups=sources)
    return Controls(
        headers_auroc=by_headers,
        separable=by_headers > SEPARABLE,
        duplicates=None if duplicates is None else len(duplicates.uris),
        unhashed=None if duplicates is None else duplicates.unhashed,
        duplicates_excluded=config.exclude_duplicates,
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
