"""The charts of a report, as SVG text to put inside a page."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.results import Scores
from fakevlm.metrics.classification import roc, wilson
from fakevlm.metrics.reliability import even_bins

_REAL, _FAKE, _LINE = "#2a9d8f", "#d1495b", "#30507a"


def roc_chart(is_fake: NDArray[np.bool_], logit: NDArray[np.float64], auroc: float) -> str:
    """The ROC curve: labels bool[n], logits float[n], both classes present."""
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    axes.step(*roc(is_fake, logit), where="post", color=_LINE)
    axes.set(xlabel="real images called fake", ylabel="fake images found", title=f"ROC, area {auroc:.3f}")
    return _svg(figure)


def reliability_chart(is_fake: NDArray[np.bool_], score: NDArray[np.float64]) -> str:
    """Share of fakes over the score, in bins of as many images each, with 95 % intervals.

    No line joins the bins: what is between two of them nobody has measured, and it would show chance as a zigzag.
    """
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    for one in even_bins(is_fake, score):
        interval = wilson(round(one.share_fake * one.count), one.count)
        axes.plot([one.mean_score] * 2, interval, color=_LINE, linewidth=1.5, alpha=0.5)
        axes.plot([one.mean_score], [one.share_fake], "o", color=_LINE, markersize=5)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel="score, P(fake)", ylabel="share that is fake", title="Reliability, with 95 % intervals")
    return _svg(figure)


def score_chart(is_fake: NDArray[np.bool_], score: NDArray[np.float64], threshold: float) -> str:
    """Histograms of the scores of real and of fake images, with the threshold; the fewer images, the wider the bins."""
    figure, axes = _figure()
    bins = min(40, max(5, round(len(score) ** 0.5)))
    for wanted, colour, name in ((False, _REAL, "real"), (True, _FAKE, "fake")):
        axes.hist(score[is_fake == wanted], bins=np.linspace(0, 1, bins + 1), color=colour, alpha=0.6, label=name)
    axes.axvline(threshold, color="0.2", linewidth=1, linestyle="--")
    axes.set(xlabel="score, P(fake)", ylabel="images", title="Scores; the line is the threshold")
    axes.legend(frameon=False)
    return _svg(figure)


def conditions_chart(conditions: dict[str, Scores]) -> str:
    """Accuracy, AUROC and ECE-15 under each condition."""
    figure, axes = _figure(width=4.2, height=1.6 + 0.22 * len(conditions))
    names = list(conditions)
    rows = np.arange(len(names))[::-1]
    shown = (("accuracy", "accuracy", "o", _LINE), ("auroc", "AUROC", "D", _REAL), ("ece_15", "ECE-15", "s", _FAKE))
    for name, label, marker, colour in shown:
        values = [getattr(scores, name) for scores in conditions.values()]
        points = [(value, row) for value, row in zip(values, rows, strict=True) if value is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=colour, label=label, markersize=5)
    axes.set_yticks(rows, names)
    axes.set(xlim=(0, 1.02), title="Distorted images, same threshold")
    axes.grid(axis="x", color="0.9")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)  # below: a phone is narrow
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
