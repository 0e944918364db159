"""Whether one evaluation is better than another on the images that both have."""

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from fakescan.evaluate.results import IMAGES, METRICS, Results
from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.preflight import check_writable
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakescan.terminal.tables import number_table, wide_console
from fakevlm.errors import UserError
from fakevlm.metrics.bootstrap import Difference, Metric, paired_bootstrap
from fakevlm.metrics.classification import accuracy, auroc, f1

COMPARISON = "comparison"
"""Name of the files that a comparison leaves, `.html` and `.json`."""
_VERDICTS = ("verdict", "verdict_other")


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
    uncertain: tuple[float, float]
    """Share of these images whose verdict is uncertain, of the first and of the second."""


def compare(first: str, second: str, store: Store) -> Comparison:
    """Compare two evaluations by their folders. Raises UserError where they share no images or disagree on labels."""
    one, other = _open(first, store), _open(second, store)
    both = _aligned(one, other)
    truth = both["is_fake"].to_numpy()
    if not len(truth):
        raise UserError(f"compare: {redact(first)} and {redact(second)} have no image in common")
    a, b, logit_a, logit_b = (
        both[name].to_numpy().astype(np.float64) for name in ("score", "score_other", "logit", "logit_other")
    )
    said_a, said_b = a >= one.results.threshold, b >= other.results.threshold
    values: dict[str, tuple[float, float, Difference]] = {}
    has_both = truth.any() and not truth.all()
    if has_both:
        values["recall of fake"] = _of(_recall, truth, said_a, said_b, 2_000)
        precision = _of(_precision, truth, said_a, said_b, 2_000)
        if np.isfinite([*precision[:2], precision[2].low]).all():
            values["precision of fake"] = precision
    values["accuracy"] = _of(accuracy, truth, said_a, said_b, 10_000)
    if has_both:
        values["F1 of class real"] = _of(lambda is_fake, said: f1(~is_fake, ~said), truth, said_a, said_b, 10_000)
        values["AUROC"] = _of(auroc, truth, logit_a, logit_b, 2_000)
    dropped = one.rows.num_rows + other.rows.num_rows - 2 * len(truth)
    unsure = [float(pc.mean(pc.equal(both[name], "uncertain").cast("float64")).as_py()) for name in _VERDICTS]
    return Comparison(one.name, other.name, len(truth), dropped, values, (unsure[0], unsure[1]))


def _recall(truth: NDArray[np.bool_], said: NDArray[Any]) -> float:
    return float(said[truth].mean())


def _precision(truth: NDArray[np.bool_], said: NDArray[Any]) -> float:
    return float(truth[said].mean()) if said.any() else float("nan")


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


def _aligned(one: _Side, other: _Side) -> pa.Table:
    """The images that both have, with `is_fake`, `score`, `logit` and `verdict` of one and, with `_other`, of both."""
    left, right = (side.rows.select(["uri", "is_fake", "score", "logit", "verdict"]) for side in (one, other))
    both = left.join(right, "uri", join_type="inner", right_suffix="_other", use_threads=False)
    if (both["is_fake"].to_numpy() != both["is_fake_other"].to_numpy()).any():
        raise UserError("compare: the two evaluations call the same images real and fake; see fakescan data validate")
    return both


def write_comparison(comparison: Comparison, output: str, store: Store) -> tuple[str, str]:
    """Write the numbers and a page into a folder; their addresses. Raises UserError."""
    from jinja2 import Environment

    check_writable(output, store)
    fs, path = store.filesystem(output)
    values = {
        name: {"first": one, "second": other, **difference._asdict()}
        for name, (one, other, difference) in comparison.values.items()
    }
    numbers = {**asdict(comparison), "values": values}
    template = (Path(__file__).parent / "comparison.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template).render(comparison=comparison, verdicts=verdicts(comparison))
    put_atomic(fs, f"{path}/{COMPARISON}.json", (json.dumps(numbers, indent=1) + "\n").encode())
    put_atomic(fs, f"{path}/{COMPARISON}.html", page.encode())
    place = f"{output.rstrip('/')}/{COMPARISON}"
    return f"{place}.html", f"{place}.json"


def verdicts(comparison: Comparison) -> list[str]:
    """For each metric whether one of the two is better, and what cannot be said."""
    lines = []
    for name, (_, _, difference) in comparison.values.items():
        real = difference.low > 0 or difference.high < 0
        better = "first" if difference.difference > 0 else "second"
        verdict = f"the {better} is better, by more than chance" if real else "no difference beyond chance"
        lines.append(f"{name}: {verdict}")
    if "AUROC" not in comparison.values:
        lines.append("F1 and AUROC: not defined, because the images are of one class only")
    first, second = (f"{100 * share:.1f} %" for share in comparison.uncertain)
    lines.append(f"uncertain: {first} of the images by the first, {second} by the second")
    if comparison.dropped:
        lines.append(f"{comparison.dropped:,} images are in only one of the two and are left out")
    return lines


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
    for line in verdicts(comparison):
        console.print(line)
