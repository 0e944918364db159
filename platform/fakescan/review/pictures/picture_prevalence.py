"""How many pictures of a run are fake, by the labels of a sample of its images.

A picture counts as fake where its first image, the one with the lowest row, is. First images are a part of all images
that is fixed before anybody draws, so that those of them that a stratum's random sample holds are a random sample of
those that the stratum holds: estimate and interval are those of the images. Labels of other images say nothing here;
whoever wants a narrower range draws more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.review.labels import Labels
from fakescan.review.plan import stratum_numbers
from fakescan.review.prevalence import MIN_REVIEWED, reviewed_of
from fakescan.review.sample_file import Sample
from fakevlm.metrics.prevalence import Estimate, fakes_in_strata


@dataclass(frozen=True)
class PicturePrevalence:
    """How many pictures are fake."""

    pictures: int
    """Pictures of the images that the sample was drawn from."""
    drawn: int
    """Images of the sample that are the first one of their picture."""
    reviewed: int
    """Of them, called real or fake."""
    fakes: int
    """Of these, fake."""
    share: Estimate | None
    """Of fakes among the pictures; None for fewer labels than a number takes."""


def picture_prevalence(sample: Sample, labels: Labels, firsts: Iterable[pa.Table]) -> PicturePrevalence | None:
    """What the labels say of the pictures; None where the run is not as it was when the sample was drawn.

    `firsts`: the first image of every picture, with `row_id`, `verdict` and `logit`.
    """
    strata = sample.plan.strata
    rows = np.zeros(len(strata), np.int64)
    wanted, found = sample.rows["row_id"].combine_chunks(), list[pa.Array]()
    for table in firsts:
        numbers = stratum_numbers(table, strata)
        if (numbers < 0).any():
            return None
        rows += np.bincount(numbers, minlength=len(strata))
        found.append(table["row_id"].filter(pc.is_in(table["row_id"], wanted)).combine_chunks())
    ids = pa.concat_arrays(found) if found else pa.array([], pa.int64())
    inside = sample.rows.filter(pc.is_in(sample.rows["row_id"], ids))
    drawn = np.bincount(inside["stratum"].to_numpy(), minlength=len(strata))
    if (rows > np.array([stratum.rows for stratum in strata])).any() or (drawn > rows).any():
        return None
    reviewed = reviewed_of(Sample(sample.plan, inside), labels)
    labelled, fakes = reviewed.labelled, reviewed.fake
    there = rows > 0
    share = None
    if labelled.sum() >= MIN_REVIEWED:
        share = fakes_in_strata(rows[there], labelled[there], fakes[there]) / int(rows.sum())
    return PicturePrevalence(int(rows.sum()), int(drawn.sum()), int(labelled.sum()), int(fakes.sum()), share)
