"""Checks the rows of a part against the manifest and against themselves."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.run.object_key import source_key
from fakescan.run.run_file import RunFile
from fakescan.storage.url import redact
from fakevlm.errors import ErrorCode
from fakevlm.verdict import Verdict, decide, score_of

_SHA256 = r"^[0-9a-f]{64}$"
_OF_A_VERDICT = ("score", "logit", "off_script", "sha256", "width", "height", "format", "num_bytes")
"""Columns that a row with a verdict must have."""
_VERSION_1_TOLERANCE = 2e-6
"""Parts of version 1 hold logits that were rounded after the score was computed."""


def content_problem(part: pa.Table, rows: pa.Table, run: RunFile, shard: int) -> str | None:
    """The first thing that is wrong with a part's rows, as the end of a sentence about it; None for a sound one.

    `rows` are the manifest's of the shard.
    """
    if not part.schema.equals(run.result_schema):
        return "has other columns than this run's results"
    first = run.sharding.first(shard)
    if not part["row_id"].equals(rows["row_id"]):
        return f"does not hold rows {first} to {first + len(rows) - 1}"
    return _identity_problem(part, rows, run) or _outcome_problem(part) or _verdict_problem(part, run)


def _identity_problem(part: pa.Table, rows: pa.Table, run: RunFile) -> str | None:
    uris = rows["uri"].to_pylist()
    if part["uri"].to_pylist() != [redact(uri) for uri in uris]:
        return "holds other images than the manifest's"
    if set(part["run_id"].unique().to_pylist()) != {run.run_id}:
        return "comes from another run"
    if set(part["model"].unique().to_pylist()) != {run.model}:
        return "names another model than the run"
    if "source_key" in part.schema.names and part["source_key"].to_pylist() != [source_key(uri) for uri in uris]:
        return "has other source keys than the manifest's addresses"
    kept = run.identity.selection.keep_columns
    if kept:
        values = [json.loads(text) if text else {} for text in rows["kept"].to_pylist()]
        for name in kept:
            if part[name].to_pylist() != [value.get(name) for value in values]:
                return f"holds other values of {name} than the manifest"
    return None


def _outcome_problem(part: pa.Table) -> str | None:
    judged = pc.is_valid(part["verdict"])
    bad = pc.sum(pc.equal(judged, pc.is_valid(part["error_code"]))).as_py()
    if bad:
        return f"has {bad} rows with neither or both of verdict and error"
    strange = set(part["verdict"].unique().to_pylist()) - {None} - {str(verdict) for verdict in Verdict}
    if strange:
        return f"has unknown verdicts: {', '.join(sorted(strange))}"
    unknown = set(part["error_code"].unique().to_pylist()) - {None} - {str(code) for code in ErrorCode}
    if unknown:
        return f"has unknown error codes: {', '.join(sorted(unknown))}"
    good, failed = part.filter(judged), part.filter(pc.invert(judged))
    if lacking := [name for name in _OF_A_VERDICT if good[name].null_count]:
        return f"has verdicts without {', '.join(lacking)}"
    if not pc.all(pc.match_substring_regex(good["sha256"], _SHA256), min_count=0).as_py():
        return "has a sha256 that is none"
    for name in ("score", "logit", "off_script", "explanation"):
        if failed[name].null_count < failed.num_rows:
            return f"has errors with a {name}"
    if failed["error_message"].null_count:
        return "has errors without a message"
    return None


def _verdict_problem(part: pa.Table, run: RunFile) -> str | None:
    """Whether the scores and verdicts follow from the logits."""
    calibration = run.identity.ask.calibration
    tolerance = _VERSION_1_TOLERANCE if run.schema_version == "1" else 0.0
    good = part.filter(pc.is_valid(part["verdict"]))
    columns = (good[name].to_pylist() for name in ("row_id", "logit", "score", "verdict"))
    for row_id, logit, score, verdict in zip(*columns, strict=True):
        expected = score_of(logit, calibration)
        if not abs(float(np.float32(expected)) - score) <= tolerance:
            return f"has a score in row {row_id} that does not follow from its logit: {score:.6g}, not {expected:.6g}"
        nearby = {decide(expected, calibration)}
        if tolerance:
            nearby |= {decide(expected - tolerance, calibration), decide(expected + tolerance, calibration)}
        if verdict not in nearby:
            return f"has a verdict in row {row_id} that does not follow from its score: {verdict} at {score:.6g}"
    return None
