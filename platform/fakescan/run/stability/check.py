"""Checks the strip of a part's rows: that it follows from its logits, and that the right rows have one."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.run.stability.columns import LOGITS, SCORES, STRIP_NAMES
from fakescan.run.stability.strip import Strip
from fakevlm.verdict import Verdict, score_of


def strip_problem(part: pa.Table, strip: Strip, *, is_rejudged: bool) -> str | None:
    """The first thing that is wrong with the strips, as the end of a sentence about the part; None for sound ones.

    In a run that was judged anew from logits the rows were chosen by another threshold.
    """
    failed = part.filter(pc.is_null(part["verdict"]))
    if any(failed[name].null_count < failed.num_rows for name in STRIP_NAMES):
        return "has errors with a stability strip"
    columns = ["row_id", "source_key", "logit", *STRIP_NAMES]
    for row in part.filter(pc.is_valid(part["verdict"])).select(columns).to_pylist():
        if problem := _row_problem(row, strip, is_rejudged=is_rejudged):
            return f"{problem} in row {row['row_id']}"
    return None


def _row_problem(row: dict[str, Any], strip: Strip, *, is_rejudged: bool) -> str | None:
    look = strip.read_look(row)
    if not is_rejudged and strip.looks(row["source_key"], row["logit"]) != (look is not None):
        return "lacks a stability strip" if look is None else "has a stability strip that was not asked for"
    for score, logit in zip(SCORES, LOGITS, strict=True):
        expected = None if row[logit] is None else np.float32(score_of(row[logit], strip.calibration))
        if (expected is None) != (row[score] is None) or (expected is not None and expected != np.float32(row[score])):
            return f"has a {score} that does not follow from {logit}"
    if look is None:
        return "has a verdict_holds without scores" if row["verdict_holds"] is not None else None
    if (None in look.scores) != (look.note is not None):
        return (
            "has a variant without a score and without a reason" if look.note is None else "has a strip_note too many"
        )
    if row["verdict_holds"] is not look.holds(strip.own_verdict(row["logit"])):
        return "has a verdict_holds that does not follow from the scores"
    return None


def own_verdicts(part: pa.Table, strip: Strip) -> pa.Table | str:
    """The part with the verdicts of its images as they are; or the problem where one should be uncertain and is not."""
    if strip.unstable == "keep":
        return part
    verdicts = part["verdict"].to_pylist()
    logits, holds = part["logit"].to_pylist(), part["verdict_holds"].to_pylist()
    for index, held in enumerate(holds):
        if held is False and verdicts[index] is not None:
            if verdicts[index] != Verdict.UNCERTAIN:
                row_id = part["row_id"][index].as_py()
                return f"has a verdict in row {row_id} that does not hold and is not uncertain: {verdicts[index]}"
            verdicts[index] = str(strip.own_verdict(logits[index]))
    place = part.schema.get_field_index("verdict")
    return part.set_column(place, part.schema.field(place), pa.array(verdicts, pa.string()))
