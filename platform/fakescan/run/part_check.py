"""Checks the rows of a part against the manifest and against themselves."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.run.object_key import source_key
from fakescan.run.run_file import RunFile
from fakescan.run.stability.check import own_verdicts, strip_problem
from fakescan.storage.url import redact
from fakevlm.errors import ErrorCode
from fakevlm.provenance import Basis, Origin
from fakevlm.verdict import Calibration, Verdict, calibrated, decide, score_of

_SHA256 = r"^[0-9a-f]{64}$"
_PLAIN = r"^(/|(s3|gs|az|abfss?|memory)://)[^?]*$"
"""Addresses that hold no secrets: they are shown as they are."""
_OF_A_VERDICT = ("score", "logit", "off_script", "sha256", "width", "height", "format", "num_bytes")
"""Columns that a row with a verdict must have."""
_VERSION_1_TOLERANCE = 2e-6
"""Parts of version 1 hold logits that were rounded after the score was computed."""
_CLEAR = 1e-9
"""Distance of a score from where verdicts change at which it does not matter how the score is computed."""


def content_problem(part: pa.Table, rows: pa.Table, run: RunFile, shard: int) -> str | None:
    """The first thing that is wrong with a part's rows, as the end of a sentence about it; None for a sound one.

    `rows` are the manifest's of the shard.
    """
    if not part.schema.equals(run.result_schema):
        return "has other columns than this run's results"
    first = run.sharding.first(shard)
    if not part["row_id"].equals(rows["row_id"]):
        return f"does not hold rows {first} to {first + len(rows) - 1}"
    problem = _identity_problem(part, rows, run) or _outcome_problem(part) or _provenance_problem(part, run)
    if problem or not run.strip.is_on:
        return problem or _verdict_problem(part, run)
    own = own_verdicts(part, run.strip)
    if isinstance(own, str):
        return own
    is_rejudged = run.rejudged_from is not None
    return _verdict_problem(own, run) or strip_problem(part, run.strip, is_rejudged=is_rejudged)


def _identity_problem(part: pa.Table, rows: pa.Table, run: RunFile) -> str | None:
    uris = rows["uri"].to_pylist()
    if not _are_shown(part["uri"], rows["uri"], uris):
        return "holds other images than the manifest's"
    if not _is_throughout(part["run_id"], run.run_id):
        return "comes from another run"
    if not _is_throughout(part["model"], run.model):
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


def _are_shown(shown: pa.ChunkedArray, addresses: pa.ChunkedArray, uris: list[str]) -> bool:
    """Whether the results' addresses are the manifest's without their secrets."""
    if pc.all(pc.match_substring_regex(addresses, _PLAIN), min_count=0).as_py():
        return bool(shown.equals(addresses))
    return bool(shown.to_pylist() == [redact(uri) for uri in uris])


def _is_throughout(column: pa.ChunkedArray, value: str) -> bool:
    return bool(pc.all(pc.fill_null(pc.equal(column, value), False), min_count=0).as_py())


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


def _provenance_problem(part: pa.Table, run: RunFile) -> str | None:
    """Whether what the files say of their origin is what a reader of files writes."""
    if not run.has_provenance_columns:
        return None
    origin, basis, detail = (part[name] for name in ("provenance", "provenance_basis", "provenance_detail"))
    for name, known in (("provenance", Origin), ("provenance_basis", Basis)):
        strange = set(part[name].unique().to_pylist()) - {None, *known}
        if strange:
            return f"has an unknown {name}: {', '.join(sorted(strange))}"
    says = pc.fill_null(pc.not_equal(origin, Origin.NONE), False)
    if pc.any(pc.not_equal(says, pc.is_valid(basis)), min_count=0).as_py():
        return "has origins without a basis, or the other way round"
    if not run.reads_provenance:
        return None if origin.null_count == part.num_rows else "has origins, which this run does not read"
    # Of a file that ended its reader the detail says so.
    unread = pc.and_(pc.is_valid(part["sha256"]), pc.and_(pc.is_null(origin), pc.is_null(detail)))
    if pc.any(unread, min_count=0).as_py():
        return "has files that were not asked for their origin"
    return None


def _verdict_problem(part: pa.Table, run: RunFile) -> str | None:
    """Whether the scores and verdicts follow from the logits."""
    calibration = run.identity.ask.calibration
    tolerance = _VERSION_1_TOLERANCE if run.schema_version == "1" else 0.0
    good = part.filter(pc.is_valid(part["verdict"])).select(["row_id", "logit", "score", "verdict"])
    doubtful = good.filter(pa.array(~_plainly_follow(good, calibration, tolerance)))
    for row_id, logit, score, verdict in zip(*(column.to_pylist() for column in doubtful.columns), strict=True):
        expected = score_of(logit, calibration)
        if not abs(float(np.float32(expected)) - score) <= tolerance:
            return f"has a score in row {row_id} that does not follow from its logit: {score:.6g}, not {expected:.6g}"
        nearby = {decide(expected, calibration)}
        if tolerance:
            nearby |= {decide(expected - tolerance, calibration), decide(expected + tolerance, calibration)}
        if verdict not in nearby:
            return f"has a verdict in row {row_id} that does not follow from its score: {verdict} at {score:.6g}"
    return None


def _plainly_follow(rows: pa.Table, calibration: Calibration, tolerance: float) -> NDArray[np.bool_]:
    """Bool[rows]: whether score and verdict follow from the logit beyond what the order of computing can change."""
    logits, scores = (rows[name].to_numpy().astype(np.float64) for name in ("logit", "score"))
    with np.errstate(all="ignore"):  # logits that are no numbers are doubtful
        expected = calibrated(logits, calibration)
        same = np.abs(expected.astype(np.float32) - scores) <= tolerance
        low, high, threshold = calibration.uncertain_low, calibration.uncertain_high, calibration.threshold
        decided = np.where(expected >= threshold, str(Verdict.FAKE), str(Verdict.REAL))
        clear = np.abs(expected - threshold) > _CLEAR + tolerance
        if low is not None and high is not None:
            decided = np.where((low <= expected) & (expected < high), str(Verdict.UNCERTAIN), decided)
            clear &= (np.abs(expected - low) > _CLEAR + tolerance) & (np.abs(expected - high) > _CLEAR + tolerance)
    found: NDArray[np.bool_] = same & clear & (decided == np.array(rows["verdict"].to_pylist(), dtype=object))
    return found
