"""The charts of a report, as SVG text to put inside a page."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.results import Scores
from fakevlm.metrics.classification import roc
from fakevlm.metrics.reliability import reliability

_REAL, _FAKE, _LINE = "#2a9d8f", "#d1495b", "#30507a"


def roc_chart(is_fake: NDArray[np.bool_], logit: NDArray[np.float64], auroc: float) -> str:
    """The ROC curve: labels bool[n], logits float[n], both classes present."""
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    axes.step(*roc(is_fake, logit), where="post", color=_LINE)
    axes.set(xlabel="real images called fake", ylabel="fake images found", title=f"ROC, area {auroc:.3f}")
    return _svg(figure)


def reliability_chart(is_fake: NDArray[np.bool_], score: NDArray[np.float64]) -> str:
    """Share of fakes over the score, in 15 bins; the dots grow with the images in the bin."""
    figure, axes = _figure()
    bins = [one for one in reliability(is_fake, score) if one.count]
    most = max(one.count for one in bins)
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    axes.plot([one.mean_score for one in bins], [one.share_fake for one in bins], color=_LINE, linewidth=1)
    sizes = [10 + 150 * one.count / most for one in bins]
    axes.scatter([one.mean_score for one in bins], [one.share_fake for one in bins], sizes, color=_LINE, zorder=3)
    axes.set(xlabel="score, P(fake)", ylabel="share that is fake", title="Reliability")
    return _svg(figure)


def score_chart(is_fake: NDArray[np.bool_], score: NDArray[np.float64], threshold: float) -> str:
    """Histograms of the scores of real and of fake images, with the threshold."""
    figure, axes = _figure()
    for wanted, colour, name in ((False, _REAL, "real"), (True, _FAKE, "fake")):
        axes.hist(score[is_fake == wanted], bins=np.linspace(0, 1, 41), color=colour, alpha=0.6, label=name)
    axes.axvline(threshold, color="0.2", linewidth=1, linestyle="--")
    axes.set(xlabel="score, P(fake)", ylabel="images", title="Scores; the line is the threshold")
    axes.legend(frameon=False)
    return _svg(figure)


def conditions_chart(conditions: dict[str, Scores]) -> str:
    """Accuracy, AUROC and ECE-15 under each condition."""
    figure, axes = _figure(width=9.5, height=1.3 + 0.3 * len(conditions))
    names = list(conditions)
    rows = np.arange(len(names))[::-1]
    shown = (("accuracy", "accuracy", "o", _LINE), ("auroc", "AUROC", "D", _REAL), ("ece_15", "ECE-15", "s", _FAKE))
    for name, label, marker, colour in shown:
        values = [getattr(scores, name) for scores in conditions.values()]
        points = [(value, row) for value, row in zip(values, rows, strict=True) if value is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=colour, label=label)
    axes.set_yticks(rows, names)
    axes.set(xlim=(0, 1.02), title="Distorted images, at the same threshold")
    axes.grid(axis="x", color="0.9")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def _figure(width: float = 3.7, height: float = 3.3) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    """The figure without XML's preamble, without a date and with fixed names: the same numbers give the same text."""
    import matplotlib

    sink = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "fakescan"}):
        figure.savefig(sink, format="svg", metadata={"Date": None})
    text = sink.getvalue()
    return text[text.index("<svg") :]
