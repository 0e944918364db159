"""Whether the intervals of an audit cover the truth as often as they say: simulated audits with known answers.

    python benchmarks/audit_intervals.py                # 1,000 audits of each kind, a few minutes
    python benchmarks/audit_intervals.py --audits 200   # a look

Every audit is one of a population of a million images of which a known share is fake, judged by a detector of some
quality whose scores are calibrated at half fakes, as a checkpoint's are. It goes through the code that an audit of a
run goes through: histogram of scores, strata, numbers to draw, sample without replacement, labels, and the test whose
inversion the interval is. For some audits of each cell the interval is computed to its ends as well, and must hold the
truth where the test does.

Where an audit has found fewer than six fakes, or six real images, it prints a bound on one side and no interval. That
is decided by its labels, so that a cell (prevalence, detector, kind of number) is counted over all its audits, whatever
they print. Floors, in every cell, of which none is left out:

  most audits print an interval       its coverage is 95 ± 2 %
  most audits print a bound           its coverage is at least 93 %; more is no mistake of a bound

A single band has few different outcomes: its coverage is their exact sum and not simulated.

Prevalence by picture counts the first image of each picture alone, of which a sample holds some: fakes have more copies
here than real images. It is said to cover 95 % or more, and so held to 93 % alone: few labels in many bands give ranges
that are too wide.
"""

import argparse
import sys
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Report
from fakescan.review.histogram import BIN, BIN_STARTS, VERDICTS, Histogram
from fakescan.review.plan import Stratum
from fakescan.review.strata import estimate_strata
from fakevlm.metrics.prevalence import Kind, fakes_in_strata, kind_of, rogan_gladen_intervals
from fakevlm.metrics.stratified import BOUND_CONFIDENCE, CONFIDENCE, StratifiedSample
from fakevlm.verdict import Calibration

ROWS = 1_000_000
PREVALENCES = (0.001, 0.01, 0.1)
DETECTORS = {"AUROC 0.76": 1.0, "AUROC 0.92": 2.0, "AUROC 0.98": 3.0, "AUROC 0.999": 4.5}
"""Distance of the mean logits of fake and real images in standard deviations."""
FALSE_ALARMS = 0.01
"""Of the threshold."""
KNOWN_FAKES, KNOWN_REALS = 1_500, 3_000
"""Images that the detector's error rates are known from."""
FIRST_FAKES, FIRST_REALS = 0.25, 0.7
"""Shares of the images that are the first one of their picture."""
BY_PICTURE = "prevalence by picture"
LOW, HIGH = 93.0, 97.0
COMPUTED = 6
"""Audits of each cell whose intervals are computed to their ends."""


@dataclass(frozen=True)
class Population:
    """Images by verdict and bin of the logit, real and fake ones: int64[verdicts, bins]."""

    real: NDArray[np.int64]
    fake: NDArray[np.int64]
    calibration: Calibration
    found: float
    """Share of fakes that the detector calls fake."""

    @property
    def histogram(self) -> Histogram:
        """What the scan of it gives."""
        return Histogram(self.real + self.fake, 0)


def population(prevalence: float, distance: float, rng: np.random.Generator) -> Population:
    """A population of a detector whose logits are normal, with the variance that makes them calibrated."""
    mean = distance**2 / 2
    real, fake = (NormalDist(middle, distance) for middle in (-mean, mean))
    border = np.ceil(real.inv_cdf(1 - FALSE_ALARMS) / BIN) * BIN
    fakes = round(prevalence * ROWS)
    counts = [rng.multinomial(n, _shares(kind)) for kind, n in ((real, ROWS - fakes), (fake, fakes))]
    is_flagged = border <= BIN_STARTS
    by_verdict = [np.stack([np.where(is_flagged == (name == "fake"), one, 0) if name != "uncertain" else 0 * one
                            for name in VERDICTS]) for one in counts]  # fmt: skip
    calibration = Calibration(threshold=float(1 / (1 + np.exp(-border))))
    return Population(by_verdict[0], by_verdict[1], calibration, 1 - fake.cdf(border))


def _shares(kind: NormalDist) -> NDArray[np.float64]:
    edges = [*BIN_STARTS, BIN_STARTS[-1] + BIN]
    shares = np.diff([kind.cdf(edge) for edge in edges])
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def in_strata(counts: NDArray[np.int64], strata: list[Stratum]) -> NDArray[np.int64]:
    """Images of each stratum, int64[strata]."""
    ends = [
        (VERDICTS.index(one.verdict), -np.inf if one.low is None else one.low, np.inf if one.high is None else one.high)
        for one in strata
    ]
    return np.array([counts[row, (low <= BIN_STARTS) & (high > BIN_STARTS)].sum() for row, low, high in ends])


@dataclass(frozen=True)
class Cell:
    """One kind of number at one prevalence and detector, over all audits; shares from 0 to 1."""

    kind: str
    covered: float
    above: float
    """Audits whose interval or bound lies above the truth."""
    intervals: float
    """Audits that print an interval, and no bound."""
    width: float | None
    """Mean of the computed intervals and bounds."""
    wrong: int = 0
    """Computed intervals that hold the truth where the test does not, or the other way round."""


@dataclass(frozen=True)
class Strata:
    """Strata of a population: int64[strata]."""

    rows: NDArray[np.int64]
    fakes: NDArray[np.int64]
    drawn: NDArray[np.int64]

    def chosen(self, which: NDArray[np.bool_]) -> "Strata":
        """Some of them."""
        return Strata(self.rows[which], self.fakes[which], self.drawn[which])

    def holds(self, hits: NDArray[np.int64], simulated: int, seed: int) -> bool:
        """Whether the interval or bound from these hits holds the truth."""
        sample = StratifiedSample(self.rows, self.drawn, hits, seed=seed, simulated=simulated)
        return _holds(sample, int(self.fakes.sum()), kind_of(self.drawn, hits))

    def is_above(self, hits: NDArray[np.int64]) -> bool:
        """Whether the estimate lies above the truth."""
        return bool((self.rows * hits / self.drawn).sum() > self.fakes.sum())


def simulated_cell(
    kind: str, strata: Strata, hits: NDArray[np.int64], simulated: int, rng: np.random.Generator
) -> Cell:
    """A cell from audits with these hits, int64[audits, strata]; audits with the same hits are computed once."""
    different, where = np.unique(hits, axis=0, return_inverse=True)
    held = np.array([strata.holds(one, simulated, int(rng.integers(2**32))) for one in different])[where.ravel()]
    above = np.array([strata.is_above(one) for one in different])[where.ravel()]
    printed = np.array([kind_of(strata.drawn, one) is Kind.INTERVAL for one in different])[where.ravel()]
    widths, wrong = list[float](), 0
    for one, holds in zip(hits[:COMPUTED], held, strict=False):
        found = fakes_in_strata(strata.rows, strata.drawn, one)
        widths.append((found.high - found.low) / strata.rows.sum())
        wrong += int((found.low <= strata.fakes.sum() <= found.high) != holds)
    return Cell(
        kind, float(held.mean()), float((~held & above).mean()), float(printed.mean()), float(np.mean(widths)), wrong
    )


def exact_cell(kind: str, strata: Strata) -> Cell:
    """A cell of a single stratum from all outcomes by their probability."""
    rows, fakes, drawn = (int(one[0]) for one in (strata.rows, strata.fakes, strata.drawn))
    outcomes, chances = StratifiedSample(strata.rows, strata.drawn, np.array([0])).outcomes(fakes)
    held = np.array([strata.holds(one, 0, 0) for one in outcomes])
    above = np.array([strata.is_above(one) for one in outcomes])
    printed = np.array([kind_of(drawn, one) is Kind.INTERVAL for one in outcomes])
    typical = fakes_in_strata([rows], [drawn], [round(drawn * fakes / rows)])
    return Cell(
        kind, float(chances[held].sum()), float(chances[~held & above].sum()), float(chances[printed].sum()),
        (typical.high - typical.low) / rows,
    )  # fmt: skip


def picture_cell(
    strata: Strata, hits: NDArray[np.int64], settings: argparse.Namespace, rng: np.random.Generator
) -> Cell:
    """The cell of the prevalence by picture: of each audit's images those count that are the first of their picture."""
    fakes = rng.binomial(strata.fakes, FIRST_FAKES)
    reals = rng.binomial(strata.rows - strata.fakes, FIRST_REALS)
    rows, truth = fakes + reals, int(fakes.sum())
    found = rng.hypergeometric(fakes, strata.fakes - fakes, hits)
    passed = rng.hypergeometric(reals, strata.rows - strata.fakes - reals, strata.drawn - hits)
    reviewed = found + passed
    held, above = np.zeros(len(hits), bool), np.zeros(len(hits), bool)
    widths, wrong = list[float](), 0
    for number, (seen, one) in enumerate(zip(reviewed, found, strict=True)):
        there = seen > 0
        estimate = float((rows * one)[there] @ (1 / seen[there]))
        unseen = int(rows[~there].sum())  # may hold anything
        held[number], above[number] = True, estimate > truth
        if not truth - unseen <= estimate <= truth:
            sample = StratifiedSample(
                rows[there], seen[there], one[there], seed=int(rng.integers(2**32)), simulated=settings.simulated
            )
            held[number] = _holds(sample, truth if estimate > truth else truth - unseen, kind_of(seen, one))
        if number < COMPUTED:
            computed = fakes_in_strata(rows, seen, one)
            widths.append((computed.high - computed.low) / rows.sum())
            wrong += int((computed.low <= truth <= computed.high) != held[number])
    printed = np.array([kind_of(seen, one) is Kind.INTERVAL for seen, one in zip(reviewed, found, strict=True)])
    return Cell(
        BY_PICTURE, float(held.mean()), float((~held & above).mean()), float(printed.mean()),
        float(np.mean(widths)), wrong,
    )  # fmt: skip


def _holds(sample: StratifiedSample, truth: int, kind: Kind) -> bool:
    """Whether the interval or bound of a sample holds a number of fakes."""
    found = sample.test(truth)
    if kind is Kind.INTERVAL:
        return found.both > 1 - CONFIDENCE
    return (found.at_most if kind is Kind.AT_MOST else found.at_least) > 1 - BOUND_CONFIDENCE


def audit(people: Population, settings: argparse.Namespace, rng: np.random.Generator) -> list[Cell]:
    """All cells of a population."""
    plan = estimate_strata(people.histogram, settings.reviewed, people.calibration)
    drawn = np.array([stratum.drawn for stratum in plan])
    strata = Strata(in_strata(people.histogram.counts, plan), in_strata(people.fake, plan), drawn)
    hits = rng.hypergeometric(strata.fakes, strata.rows - strata.fakes, drawn, size=(settings.audits, len(plan)))
    flagged = np.array([stratum.verdict == "fake" for stratum in plan])
    cells = []
    for kind, which in {
        "prevalence": np.ones(len(plan), bool), "precision of fake": flagged, "fakes not flagged": ~flagged
    }.items():  # fmt: skip
        some = strata.chosen(which)
        if which.sum() == 1:
            cells.append(exact_cell(kind, some))
        else:
            cells.append(simulated_cell(kind, some, hits[:, which], settings.simulated, rng))
    cells.append(picture_cell(strata, hits, settings, np.random.default_rng([settings.seed, int(hits.sum())])))
    cells += [
        exact_cell(f"band {number + 1}", strata.chosen(np.arange(len(plan)) == number)) for number in range(len(plan))
    ]
    ends = rogan_gladen_intervals(
        np.full(settings.audits, int(strata.rows[flagged].sum())), ROWS,
        rng.binomial(KNOWN_FAKES, people.found, settings.audits),
        rng.binomial(KNOWN_REALS, alarm_rate(people), settings.audits),
        fakes=KNOWN_FAKES, reals=KNOWN_REALS, draws=settings.draws, seed=int(rng.integers(2**32)),
    )  # fmt: skip
    low, high, truth = ends[:, 0], ends[:, 1], people.fake.sum() / ROWS
    covered, above = float(((low <= truth) & (truth <= high)).mean()), float((low > truth).mean())
    cells.append(Cell("Rogan-Gladen", covered, above, float((low > 0).mean()), float((high - low).mean())))
    return cells


def alarm_rate(people: Population) -> float:
    """Share of the real images that are flagged, as the rates' images are drawn from the same source."""
    return float(people.real[VERDICTS.index("fake")].sum() / people.real.sum())


def add(report: Report, place: str, cell: Cell) -> None:
    """Keep and print a cell, and hold it to its floor."""
    shares = {"covered": cell.covered, "above": cell.above, "intervals": cell.intervals, "width": cell.width}
    report.add(place, kind=cell.kind, **{name: None if x is None else round(100 * x, 2) for name, x in shares.items()})
    is_interval = cell.intervals >= 0.5 or cell.kind == "Rogan-Gladen"
    words = f"{cell.kind} at {place}: {'interval' if is_interval else 'bound'}, coverage, %"
    report.require(words, 100 * cell.covered, LOW)
    if is_interval and cell.kind != BY_PICTURE:  # which says that it is 95 % or more
        report.require(words, 100 * cell.covered, HIGH, at_least=False)
    if cell.wrong:
        report.require(f"{cell.kind} at {place}: intervals unlike the test", cell.wrong, 1, at_least=False)


def main() -> None:
    """Parse, simulate, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=1000, help="of each prevalence and detector")
    parser.add_argument("--reviewed", type=int, default=600, help="images that are reviewed in each")
    parser.add_argument("--simulated", type=int, default=500, help="samples that a number of fakes is tested by")
    parser.add_argument("--draws", type=int, default=2000, help="draws of the error rates")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prevalence", type=float, choices=PREVALENCES, help="only this one")
    settings = parser.parse_args()
    report = Report("audit_intervals", vars(settings))
    for prevalence in PREVALENCES if settings.prevalence is None else (settings.prevalence,):
        for name, distance in DETECTORS.items():
            seed = [settings.seed, round(10_000 * prevalence), round(10 * distance)]
            print(f"{prevalence:.1%} {name}: numpy's generator with the seed {seed}")
            rng = np.random.default_rng(seed)
            for cell in audit(population(prevalence, distance, rng), settings, rng):
                add(report, f"{prevalence:.1%} {name}", cell)
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
