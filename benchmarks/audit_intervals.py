"""Whether the intervals of an audit cover the truth as often as they say: simulated audits with known answers.

    python benchmarks/audit_intervals.py                # less than a minute
    python benchmarks/audit_intervals.py --audits 200   # a look

Every audit is one of a population of a million images of which a known share is fake, judged by a detector of some
quality whose scores are calibrated at half fakes, as a checkpoint's are. It goes through the code that an audit of a
run goes through: histogram of scores, strata, numbers to draw, sample without replacement, labels, intervals. Printed
for each prevalence and detector: the share of audits whose 95 % interval holds the truth (of several intervals the
lowest and the highest), how often it lies above the truth, and its mean width; all in %.

Counts are whole numbers, so that no interval covers exactly 95 % everywhere: where a handful of images decides,
coverage swings around it. The floors: for each kind of interval 95 ± 2 % over all detectors and prevalences, at each
prevalence at least 93 %, and in no single place less than 91 %. Where at most 2 fakes (or 2 real images) are expected
in the sample, an interval may cover more often, and is held only to the last one.
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
from fakevlm.metrics.prevalence import fake_intervals, rogan_gladen_intervals
from fakevlm.verdict import Calibration

ROWS = 1_000_000
PREVALENCES = (0.001, 0.01, 0.1)
DETECTORS = {"AUROC 0.76": 1.0, "AUROC 0.92": 2.0, "AUROC 0.98": 3.0, "AUROC 0.999": 4.5}
"""Distance of the mean logits of fake and real images in standard deviations."""
FALSE_ALARMS = 0.01
"""Of the threshold."""
KNOWN_FAKES, KNOWN_REALS = 1_500, 3_000
"""Images that the detector's error rates are known from."""
LOW, HIGH, LOWEST = 93.0, 97.0, 91.0
FEW = 2
"""Expected fakes, or real images, of a sample up to which an interval may cover more often than it says."""


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
    return shares / shares.sum()


def in_strata(counts: NDArray[np.int64], strata: list[Stratum]) -> NDArray[np.int64]:
    """Images of each stratum, int64[strata]."""
    ends = [
        (VERDICTS.index(one.verdict), -np.inf if one.low is None else one.low, np.inf if one.high is None else one.high)
        for one in strata
    ]
    return np.array([counts[row, (low <= BIN_STARTS) & (high > BIN_STARTS)].sum() for row, low, high in ends])


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth."""

    audits: int
    inside: int
    above: int
    """Audits whose interval lies above the truth."""
    width: float

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.inside / self.audits


def coverage(ends: NDArray[np.float64], truth: NDArray[np.float64] | float) -> Coverage:
    """Of intervals float64[audits, 2]."""
    inside = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
    return Coverage(
        len(ends), int(inside.sum()), int((ends[:, 0] > truth).sum()), float((ends[:, 1] - ends[:, 0]).mean())
    )


def audit(
    people: Population, reviewed: int, audits: int, draws: int, rng: np.random.Generator
) -> dict[str, list[tuple[bool, Coverage]]]:
    """Coverage of each kind of interval; with it whether chance decides there."""
    strata = estimate_strata(people.histogram, reviewed, people.calibration)
    rows, fakes = in_strata(people.histogram.counts, strata), in_strata(people.fake, strata)
    drawn = np.array([stratum.drawn for stratum in strata])
    hits = rng.hypergeometric(fakes, rows - fakes, drawn, size=(audits, len(strata)))
    flagged = np.array([stratum.verdict == "fake" for stratum in strata])
    found: dict[str, list[tuple[bool, Coverage]]] = {}

    def add(kind: str, chosen: NDArray[np.bool_]) -> None:
        ends = fake_intervals(rows[chosen], drawn[chosen], hits[:, chosen], draws=draws, seed=int(rng.integers(2**32)))
        expected = float((drawn * fakes / rows)[chosen].sum())
        decides = FEW < expected < drawn[chosen].sum() - FEW
        found.setdefault(kind, []).append(
            (decides, coverage(ends / rows[chosen].sum(), fakes[chosen].sum() / rows[chosen].sum()))
        )

    add("prevalence", np.ones(len(strata), bool))
    add("precision of fake", flagged)
    add("fakes not flagged", ~flagged)
    for number in range(len(strata)):
        add("precision by band", np.arange(len(strata)) == number)
    ends = rogan_gladen_intervals(
        np.full(audits, int(rows[flagged].sum())), ROWS, rng.binomial(KNOWN_FAKES, people.found, audits),
        rng.binomial(KNOWN_REALS, alarm_rate(people), audits), fakes=KNOWN_FAKES, reals=KNOWN_REALS, draws=draws,
        seed=int(rng.integers(2**32)),
    )  # fmt: skip
    found["Rogan-Gladen"] = [(True, coverage(ends, people.fake.sum() / ROWS))]
    return found


def alarm_rate(people: Population) -> float:
    """Share of the real images that are flagged, as the rates' images are drawn from the same source."""
    return float(people.real[VERDICTS.index("fake")].sum() / people.real.sum())


def main() -> None:
    """Parse, simulate, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=1000, help="of each prevalence and detector")
    parser.add_argument("--reviewed", type=int, default=600, help="images that are reviewed in each")
    parser.add_argument("--draws", type=int, default=2000, help="draws from each posterior")
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    report = Report("audit_intervals", vars(settings))
    rng = np.random.default_rng(settings.seed)
    everywhere: dict[str, list[float]] = {}
    for prevalence in PREVALENCES:
        pooled: dict[str, list[tuple[bool, Coverage]]] = {}
        for name, distance in DETECTORS.items():
            people = population(prevalence, distance, rng)
            for kind, results in audit(people, settings.reviewed, settings.audits, settings.draws, rng).items():
                pooled.setdefault(kind, []).extend(results)
                report.add(
                    f"{prevalence:.1%} {name}", kind=kind, lowest=round(100 * min(one.share for _, one in results), 1),
                    highest=round(100 * max(one.share for _, one in results), 1),
                    above=round(100 * max(one.above / one.audits for _, one in results), 1),
                    width=round(100 * float(np.mean([one.width for _, one in results])), 3),
                )  # fmt: skip
        for kind, results in pooled.items():
            decided = [one.share for decides, one in results if decides]
            if decided:
                mean = 100 * float(np.mean(decided))
                report.require(f"{kind} at {prevalence:.1%}: mean coverage, %", mean, LOW)
                everywhere.setdefault(kind, []).append(mean)
            lowest = 100 * min(one.share for _, one in results)
            report.require(f"{kind} at {prevalence:.1%}: lowest coverage, %", lowest, LOWEST)
    for kind, means in everywhere.items():
        report.require(f"{kind}: mean coverage, %, at least", float(np.mean(means)), LOW)
        report.require(f"{kind}: mean coverage, %, at most", float(np.mean(means)), HIGH, at_least=False)
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
