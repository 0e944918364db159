"""From labels and scores to the numbers of an evaluation."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fakescan.address import redact
from fakescan.evaluate.benchmark import Benchmark
from fakescan.evaluate.config import EvaluateConfig
from fakescan.evaluate.judged import Judged
from fakescan.evaluate.results import Controls, Results, Scores, Texts, scores
from fakevlm.distortion import NONE
from fakevlm.headers import SEPARABLE, headers_auroc
from fakevlm.text_metrics import boilerplate, open_encoder, rouge_l


def measure(
    config: EvaluateConfig,
    benchmark: Benchmark,
    judged: dict[str, Judged],
    duplicates: frozenset[str] | None,
) -> Results:
    """All numbers. `judged` has the images as they are under `none`; `duplicates` are URIs, None for not looked for."""
    clean = judged[NONE]
    run = clean.run
    left_out = (duplicates or frozenset()) if config.exclude_duplicates else frozenset()
    kept = np.array([image.uri not in left_out for image in clean.images], dtype=np.bool_)
    calibration = run.identity.ask.calibration
    whole = [_scores(of, left_out) for of in judged.values()]
    return Results(
        benchmark=config.benchmark,
        data=redact(config.data),
        split=config.split,
        model=run.model,
        weights_sha256=run.identity.weights_sha256,
        warning=run.warning,
        prompt_format=run.identity.prompt.prompt_format,
        temperature=calibration.temperature,
        bias=calibration.bias,
        threshold=calibration.threshold,
        sampled=config.sample is not None,
        repeated=benchmark.repeated,
        errors=clean.errors,
        overall=whole[0],
        categories=_groups(clean, [image.category for image in clean.images], kept, kept & False),
        generators=_groups(clean, [image.generator for image in clean.images], kept, kept & ~clean.is_fake),
        texts=_texts(clean, kept) if config.explain else None,
        controls=_controls(config, clean, kept, duplicates),
        conditions=dict(zip(judged, whole, strict=True)) if len(judged) > 1 else {},
    )


def _scores(judged: Judged, left_out: frozenset[str]) -> Scores:
    kept = np.array([image.uri not in left_out for image in judged.images], dtype=np.bool_)
    return _subset(judged, kept)


def _subset(judged: Judged, kept: NDArray[np.bool_]) -> Scores:
    verdicts = np.array(judged.rows["verdict"].to_pylist(), dtype=object)[kept].tolist()
    threshold = judged.run.identity.ask.calibration.threshold
    return scores(judged.is_fake[kept], judged.score[kept], verdicts, threshold)


def _groups(
    judged: Judged, names: Sequence[str], kept: NDArray[np.bool_], beside: NDArray[np.bool_]
) -> dict[str, Scores]:
    """Scores of the images of each name, most first, together with those `beside` them; no name, no group."""
    named = np.array(names, dtype=object)
    found = {name: kept & (named == name) for name in sorted(set(named[kept].tolist()) - {""})}
    largest_first = sorted(found.items(), key=lambda item: -int(item[1].sum()))
    return {name: _subset(judged, mask | beside) for name, mask in largest_first}


def _texts(judged: Judged, kept: NDArray[np.bool_]) -> Texts:
    references = [image.reference for image, keep in zip(judged.images, kept, strict=True) if keep]
    return measure_texts(references, [text or "" for text in judged.rows.filter(kept)["explanation"].to_pylist()])


def measure_texts(references: Sequence[str], texts: Sequence[str]) -> Texts:
    """Compare texts with their references, empty where there is none, and with each other."""
    compared = [(reference, text) for reference, text in zip(references, texts, strict=True) if reference]
    known, said = [reference for reference, _ in compared], [text for _, text in compared]
    repeats = boilerplate([text for text in texts if text])
    encoder = open_encoder() if compared else None
    return Texts(
        explained=sum(bool(text) for text in texts),
        compared=len(compared),
        rouge_l=_mean(rouge_l(known, said)),
        css=_mean(encoder.cosine(known, said)) if encoder else None,
        encoder=f"{encoder.name} {encoder.revision}" if encoder else None,
        most_common=repeats.most_common,
        most_common_share=_defined(repeats.most_common_share),
        distinct_1=_defined(repeats.distinct_1),
        distinct_2=_defined(repeats.distinct_2),
        distinct_texts=_defined(repeats.distinct_texts),
    )


def _controls(
    config: EvaluateConfig, judged: Judged, kept: NDArray[np.bool_], duplicates: frozenset[str] | None
) -> Controls:
    rows = judged.rows.filter(kept)
    sources = [image.source for image, keep in zip(judged.images, kept, strict=True) if keep]
    formats, widths, heights = (rows[name].to_pylist() for name in ("format", "width", "height"))
    by_headers = headers_auroc(judged.is_fake[kept], formats, widths, heights, groups=sources)
    return Controls(
        headers_auroc=_defined(by_headers),
        separable=by_headers > SEPARABLE,
        duplicates=None if duplicates is None else len(duplicates),
        duplicates_excluded=config.exclude_duplicates,
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
