"""Whether one evaluation is better than another on the images that both have."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from fakescan.evaluate.results import IMAGES, METRICS, Results
from fakescan.storage.objects import read_bytes
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakescan.terminal.tables import number_table, wide_console
from fakevlm.errors import UserError
from fakevlm.metrics.bootstrap import Difference, Metric, paired_bootstrap
from fakevlm.metrics.classification import accuracy, auroc, f1


@dataclass(frozen=True)
class _Side:
    """The part of one evaluation that is compared."""

    results: Results
    rows: pa.Table

    @property
    def name(self) -> str:
        return f"{self.results.model} ({self.results.weights_sha256[:8]})"


@dataclass(frozen=True)
class Comparison:
    """Two evaluations side by side."""

    first: str
    second: str
    images: int
    """Images that both have."""
    dropped: int
    """Images that only one has."""
    values: dict[str, tuple[float, float, Difference]]
    """For each metric: the first's value, the second's, and the difference with its interval."""


def compare(first: str, second: str, store: Store) -> Comparison:
    """Compare two evaluations by their folders. Raises UserError where they share no images or disagree on labels."""
    one, other = _open(first, store), _open(second, store)
    truth, a, b, logit_a, logit_b = _aligned(one, other)
    if not len(truth):
        raise UserError(f"compare: {redact(first)} and {redact(second)} have no image in common")
    said_a, said_b = a >= one.results.threshold, b >= other.results.threshold
    values = {"accuracy": _of(accuracy, truth, said_a, said_b, 10_000)}
    if truth.any() and not truth.all():
        values["F1 of class real"] = _of(lambda is_fake, said: f1(~is_fake, ~said), truth, said_a, said_b, 10_000)
        values["AUROC"] = _of(auroc, truth, logit_a, logit_b, 2_000)
    dropped = one.rows.num_rows + other.rows.num_rows - 2 * len(truth)
    return Comparison(one.name, other.name, len(truth), dropped, values)


def _of(
    metric: Metric, truth: NDArray[np.bool_], a: NDArray[Any], b: NDArray[Any], resamples: int
) -> tuple[float, float, Difference]:
    return metric(truth, a), metric(truth, b), paired_bootstrap(metric, truth, a, b, resamples=resamples)


def _open(url: str, store: Store) -> _Side:
    fs, path = store.filesystem(url)
    try:
        results = Results.model_validate_json(read_bytes(fs, f"{path}/{METRICS}"))
        rows = pq.read_table(io.BytesIO(read_bytes(fs, f"{path}/{IMAGES}")))
    except FileNotFoundError:
        raise UserError(f"compare: {redact(url)} holds no finished evaluation ({METRICS} is missing)") from None
    except (ValidationError, pa.ArrowInvalid):
        raise UserError(f"compare: {redact(url)} is not an evaluation of this version of fakescan") from None
    return _Side(results, rows)


def _aligned(one: _Side, other: _Side) -> tuple[NDArray[Any], ...]:
    """Labels bool[n], both scores and both logits float64[n] of the images that both have."""
    left, right = (side.rows.select(["uri", "is_fake", "score", "logit"]) for side in (one, other))
    both = left.join(right, "uri", join_type="inner", right_suffix="_other", use_threads=False)
    truth = both["is_fake"].to_numpy()
    if (truth != both["is_fake_other"].to_numpy()).any():
        raise UserError("compare: the two evaluations call the same images real and fake; see fakescan data validate")
    names = ("score", "score_other", "logit", "logit_other")
    return truth, *(both[name].to_numpy().astype(np.float64) for name in names)


def print_comparison(comparison: Comparison) -> None:
    """Print the values of both, their difference, and whether it is more than chance."""
    console = wide_console()
    title = f"{comparison.images:,} images that both have, %"
    table = number_table(console, title, "metric", "first", "second", "difference", "95 % interval", "p")
    for name, (one, other, difference) in comparison.values.items():
        interval = f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}"
        cells = (f"{100 * one:.2f}", f"{100 * other:.2f}", f"{100 * difference.difference:+.2f}", interval)
        table.add_row(name, *cells, f"{difference.p_value:.4f}")
    console.print(table)
    console.print(f"first: {comparison.first}   second: {comparison.second}", soft_wrap=True)
    for name, (_, _, difference) in comparison.values.items():
        real = difference.low > 0 or difference.high < 0
        better = "first" if difference.difference > 0 else "second"
        verdict = f"the {better} is better, by more than chance" if real else "no difference beyond chance"
        console.print(f"{name}: {verdict}")
    if "AUROC" not in comparison.values:
        console.print("F1 and AUROC: not defined, because the images are of one class only")
    if comparison.dropped:
        console.print(f"{comparison.dropped:,} images are in only one of the two and are left out")
