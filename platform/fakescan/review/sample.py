"""Draws a sample of a run for review, or continues one.

drawn = draw_sample(folder, "estimate", 500)
drawn.sample.plan.strata, drawn.added
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from fakescan.review.discover import discover
from fakescan.review.draw import draw
from fakescan.review.histogram import Histogram, count_scores
from fakescan.review.labels import Labels
from fakescan.review.plan import Design, SamplePlan, Stratum
from fakescan.review.random_keys import mixed, random_keys
from fakescan.review.sample_file import SAMPLE_SCHEMA, Sample, read_sample, write_sample
from fakescan.review.strata import allocate, estimate_strata, threshold_strata, with_drawn
from fakescan.run.bulk.workers import HERE, Workers
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.storage.url import redact
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration

logger = logging.getLogger(__name__)

MAX_IMAGES = 100_000
"""Images of a sample: they are in memory together, and people have to look at each."""


@dataclass(frozen=True)
class Drawn:
    """A sample, and what is new in it."""

    sample: Sample
    added: int
    """Images that the sample did not hold before."""
    removed: int
    """Images that it held and, as the run is now, does not hold any more."""
    continued: bool
    """Whether there was a sample before."""


Planner = Callable[[Histogram, int, Calibration], list[Stratum]]
_PLANNERS: dict[str, Planner] = {"estimate": estimate_strata, "threshold": threshold_strata}


def draw_sample(
    folder: RunFolder,
    design: Design,
    n: int,
    *,
    seed: int | None = None,
    labels: Labels | None = None,
    workers: Workers = HERE,
    on_parts: OnParts = nobody,
    write: bool = True,
) -> Drawn:
    """Draw `n` images of a run, in all, and write RUN/review/DESIGN.parquet; a sample that is there grows to `n`.

    `seed`: 0, or that of the sample which is there. `labels` are needed for the design `qa`, whose images are among the
    labelled ones. Raises UserError.
    """
    if not 1 <= n <= MAX_IMAGES:
        raise UserError(f"n: {n:,} is not from 1 to {MAX_IMAGES:,}")
    run = folder.open()
    if len(run.identity.conditions) > 1:
        raise UserError("run: an evaluation's run has each image several times; review one that `fakescan scan` made")
    before = read_sample(folder, design)
    if before is not None and before.plan.run_id != run.run_id:
        logger.warning("run: review/%s.parquet is of another run and is drawn anew", design)
        before = None
    if before is not None and seed not in (None, before.plan.seed):
        raise UserError(
            f"seed: the sample was drawn with {before.plan.seed}, now {seed}; leave it out to continue, or delete "
            f"review/{design}.parquet to draw anew"
        )
    if before is not None and n < before.rows.num_rows:
        raise UserError(
            f"n: the sample holds {before.rows.num_rows:,} images already; name a larger number to continue it"
        )
    start = _Start(folder, run, before.plan.seed if before is not None else seed or 0, workers, on_parts)
    if design in _PLANNERS:
        sample = start.stratified(design, n, before)
    elif design == "discover":
        sample = start.discovering(n)
    elif design == "qa":
        sample = start.repeating(n, labels)
    else:
        raise UserError("design: disagree compares two runs; name the other one with --against")
    return finish(folder, sample, before, write=write)


def finish(folder: RunFolder, sample: Sample, before: Sample | None, *, write: bool) -> Drawn:
    """Write a sample: images of the one before first, in their order."""
    order = np.arange(sample.rows.num_rows)
    known: set[int] = set()
    if before is not None:
        known = set(before.rows["row_id"].to_pylist())
        place = {row: number for number, row in enumerate(before.rows["row_id"].to_pylist())}
        rows = sample.rows["row_id"].to_pylist()
        order = np.array(
            sorted(range(len(rows)), key=lambda index: place.get(rows[index], len(place) + index)), np.int64
        )
    sample = Sample(sample.plan, sample.rows.take(pa.array(order)))
    now = set(sample.rows["row_id"].to_pylist())
    if write:
        write_sample(folder, sample)
    return Drawn(sample, len(now - known), len(known - now), before is not None)


@dataclass(frozen=True)
class _Start:
    """What drawing begins with."""

    folder: RunFolder
    run: RunFile
    seed: int
    workers: Workers
    on_parts: OnParts

    def stratified(self, design: Design, n: int, before: Sample | None) -> Sample:
        """A sample from strata of scores, each of whose images has the same chance."""
        shards, histogram = self._counted()
        calibration = self.run.identity.ask.calibration
        strata = _PLANNERS[design](histogram, n, calibration)
        if before is not None:  # its borders stay, or its images would have other chances
            strata = self._grown(before.plan.strata, strata, histogram, n)
        if n < len(strata):
            raise UserError(f"n: {n} is fewer than the {len(strata)} bands of the sample, and each needs an image")
        rows = draw(self.folder, self.run, shards, strata, seed=self.seed, workers=self.workers, on_parts=self.on_parts)
        plan = self._plan(design, histogram, _as_drawn(strata, rows))
        chances = np.array([stratum.probability for stratum in plan.strata])[rows["stratum"].to_numpy()]
        return Sample(plan, _in_random_order(sample_rows(rows, chances), self.seed))

    def discovering(self, n: int) -> Sample:
        """The highest scores of as many folders and contents as may be."""
        shards, histogram = self._counted()
        rows = discover(self.folder, self.run, shards, n, workers=self.workers, on_parts=self.on_parts)
        return Sample(self._plan("discover", histogram, []), sample_rows(rows, None))

    def repeating(self, n: int, labels: Labels | None) -> Sample:
        """Labelled images of the run's samples, for a second look by another reviewer."""
        from fakescan.review.repeat import repeated

        if labels is None or not labels.of_image:
            raise UserError("labels: the design qa repeats labelled images; name the labels with --labels")
        return repeated(self.folder, self.run, labels, n, self.seed)

    def _counted(self) -> "tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Histogram]":
        shards = self.folder.listing().below(self.run.sharding.count).shards
        histogram = count_scores(self.folder, self.run, shards, workers=self.workers, on_parts=self.on_parts)
        if not histogram.rows:
            raise UserError(f"run: {redact(self.folder.url)} has no image with a verdict yet; scan first")
        return shards, histogram

    def _plan(self, design: Design, histogram: Histogram, strata: list[Stratum]) -> SamplePlan:
        return SamplePlan(
            design=design,
            seed=self.seed,
            run_id=self.run.run_id,
            model=self.run.model,
            drawn_at=datetime.now(UTC),
            rows=histogram.rows,
            errors=histogram.errors,
            missing=self.run.rows - histogram.rows - histogram.errors,
            strata=strata,
        )

    def _grown(self, before: list[Stratum], fresh: list[Stratum], histogram: Histogram, n: int) -> list[Stratum]:
        """The strata of before, as the run is now, with more images to draw: by the density of a fresh plan."""
        from fakescan.review.histogram import BIN_STARTS, VERDICTS

        def inside(stratum: Stratum) -> "np.ndarray[tuple[int, int], np.dtype[np.bool_]]":
            low = -np.inf if stratum.low is None else stratum.low
            high = np.inf if stratum.high is None else stratum.high
            is_verdict = np.array([verdict == stratum.verdict for verdict in VERDICTS])
            return is_verdict[:, None] & (low <= BIN_STARTS) & (high > BIN_STARTS)

        density = np.zeros(histogram.counts.shape)
        for stratum in fresh:
            density[inside(stratum)] = stratum.probability
        kept = [stratum.model_copy(update={"rows": int(histogram.counts[inside(stratum)].sum())}) for stratum in before]
        if sum(stratum.rows for stratum in kept) < histogram.rows:
            raise UserError(
                "run: it has verdicts now that the sample knew nothing of; delete the sample's file and draw anew "
                "(labels stay)"
            )
        weights = [float((density * histogram.counts)[inside(stratum)].sum()) for stratum in kept]
        numbers = [min(stratum.drawn, stratum.rows) for stratum in kept]
        return with_drawn(kept, allocate([stratum.rows for stratum in kept], weights, n, at_least=numbers))


def sample_rows(rows: pa.Table, chances: "np.ndarray[tuple[int], np.dtype[np.float64]] | None") -> pa.Table:
    """Drawn rows as a sample's file has them. `chances`: float64[rows], None where there are none."""
    nothing = chances is None
    stratum = pa.nulls(rows.num_rows, pa.int32()) if nothing else rows["stratum"].cast(pa.int32())
    chance = pa.nulls(rows.num_rows, pa.float64()) if nothing else pa.array(chances, pa.float64())
    named = {name: rows[name] for name in SAMPLE_SCHEMA.names if name in rows.column_names}
    arrays = {**named, "stratum": stratum, "inclusion_probability": chance}
    return pa.table([arrays[name] for name in SAMPLE_SCHEMA.names], schema=SAMPLE_SCHEMA)


def _as_drawn(strata: list[Stratum], rows: pa.Table) -> list[Stratum]:
    """The strata with what the second pass found; the first one's counts are those of the same parts."""
    drawn = np.bincount(rows["stratum"].to_numpy(), minlength=len(strata)).tolist()
    return with_drawn(strata, drawn)


def _in_random_order(rows: pa.Table, seed: int) -> pa.Table:
    """Another order than that of the keys, which the strata are not mixed in: who stops early has seen some of each."""
    numbers = rows["row_id"].to_numpy().astype(np.uint64)
    keys = mixed(mixed(numbers) ^ mixed(np.array([(seed + 1) % 2**64], np.uint64)))
    return rows.take(pa.array(np.argsort(keys, kind="stable")))


__all__ = ["Drawn", "draw_sample", "finish", "random_keys", "sample_rows"]
