"""Makes verdicts anew from the logits of a finished run, with another threshold or calibration, into a new run."""

import uuid
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from fakescan.run.bulk.threads import on_threads
from fakescan.run.folder import TRUST_LIST, RunFolder
from fakescan.run.own_words import own_words_only
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile, differences
from fakescan.run.stability.columns import STRIP_NAMES
from fakescan.run.stability.strip import Look
from fakescan.sources.manifest import INFO_NAME
from fakescan.storage.bound_settings import refuse_changes
from fakescan.storage.lease import Lease
from fakescan.storage.objects import list_names, put_atomic, read_bytes
from fakescan.storage.url import canonical, redact
from fakevlm.errors import UserError
from fakevlm.reading import Meaning, Reader
from fakevlm.verdict import Calibration, Verdict, decide, score_of

_WORKERS = 8


@dataclass
class Rejudgement:
    """What became of the verdicts of a run."""

    run: RunFile
    """The new run."""
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows by earlier and new verdict, where they differ."""
    unexplained: int = 0
    """Rows that the run's settings would explain with their new verdict, and that have no explanation."""
    unlooked: int = 0
    """Rows that the run's settings would look at again with their new score, and that have no stability strip."""


def rejudge(folder: RunFolder, target: RunFolder, calibration: Calibration) -> Rejudgement:
    """Write the new run into `target`: the same rows, with scores and verdicts of `calibration`.

    An explanation, which is the model's own, stays with its row if the run explains the new verdict. The same call
    again does what an interrupted one left. Raises UserError for a run that is not finished or damaged, and for a
    target that holds something else.
    """
    if canonical(folder.url) == canonical(target.url):
        raise UserError("output: name another folder than the run itself; its verdicts stay as they are")
    run = folder.open()
    missing = folder.missing(run.sharding)
    if len(missing):
        raise UserError(f"run: {redact(folder.url)} is unfinished, {len(missing):,} parts are missing; resume it")
    lease = Lease(target.fs, f"{target.path}/lease.json")
    lease.acquire()
    try:
        result = Rejudgement(_open_target(folder, run, target, calibration))
        shards = range(run.sharding.count)
        again = on_threads(
            lambda shard: _rejudge_part(folder, run, target, result.run, shard),
            shards,
            threads=_WORKERS,
            name="rejudge",
        )
        with closing(again):
            for changed, unexplained, unlooked in again:
                lease.check()
                result.changed.update(changed)
                result.unexplained += unexplained
                result.unlooked += unlooked
    finally:
        lease.release()
    return result


def _open_target(folder: RunFolder, run: RunFile, target: RunFolder, calibration: Calibration) -> RunFile:
    calibration = calibration.without_origin()  # as in every run.json
    ask = run.identity.ask.model_copy(update={"calibration": calibration})
    name = uuid.uuid5(uuid.NAMESPACE_OID, f"{run.run_id} {calibration.model_dump_json()}")
    wanted = run.model_copy(
        update={
            "run_id": name.hex,
            "created_at": datetime.now(UTC),
            "identity": run.identity.model_copy(update={"ask": ask}),
            "listed_at": run.listed_at or run.created_at,
            "rejudged_from": run.run_id,
        }
    )
    there = target.load()
    if there is not None:
        changed = differences(there, wanted.identity, None)
        if there.rejudged_from != run.run_id:
            changed.append(f"rejudged_from was {there.rejudged_from or 'not set'}, now {run.run_id}")
        refuse_changes("output", target.url, changed, "--output")
        return there
    if target.shards():
        raise UserError(f"output: {redact(target.url)} holds parts but no run.json; use an empty --output")
    _copy_manifest(folder, run, target)
    target.save(wanted)
    return wanted


def _copy_manifest(folder: RunFolder, run: RunFile, target: RunFolder) -> None:
    source, copy = f"{folder.path}/{run.manifest}", f"{target.path}/{run.manifest}"
    names = [name for name, _ in list_names(folder.fs, source)]
    for name in sorted(names, key=lambda name: (name == INFO_NAME, name)):  # what makes it complete is the last
        put_atomic(target.fs, f"{copy}/{name}", read_bytes(folder.fs, f"{source}/{name}"))
    if run.trust_list is not None:
        with suppress(FileNotFoundError):  # nothing that is finished needs it
            put_atomic(target.fs, f"{target.path}/{TRUST_LIST}", read_bytes(folder.fs, f"{folder.path}/{TRUST_LIST}"))


def _rejudge_part(
    folder: RunFolder, run: RunFile, target: RunFolder, wanted: RunFile, shard: int
) -> tuple[Counter[tuple[str, str]], int, int]:
    part = own_words_only(folder.whole_part(shard), run)
    calibration, ask, strip = wanted.identity.ask.calibration, wanted.identity.ask, wanted.strip
    looks = _looks(part, wanted)
    keys = part["source_key"].to_pylist() if strip.is_on else [""] * part.num_rows
    changed: Counter[tuple[str, str]] = Counter()
    unexplained = unlooked = 0
    scores: list[float | None] = []
    own_verdicts: list[Verdict | None] = []
    verdicts: list[str | None] = []
    explanations: list[str | None] = []
    for logit, before, explanation, look, key in zip(
        *(part[name].to_pylist() for name in ("logit", "verdict", "explanation")), looks, keys, strict=True
    ):
        if before is None:
            scores.append(None)
            own_verdicts.append(None)
            verdicts.append(None)
            explanations.append(None)
            continue
        score = score_of(logit, calibration)
        own = decide(score, calibration)
        verdict = own if look is None else strip.verdict(own, look.holds(own))
        if verdict != before:
            changed[before, str(verdict)] += 1
        # What is explained is the verdict on the image as it is.
        kept = explanation if ask.wants_explanation(own) else None
        unexplained += kept is None and ask.wants_explanation(own)
        unlooked += look is None and strip.looks(key, logit)
        scores.append(score)
        own_verdicts.append(own)
        verdicts.append(verdict)
        explanations.append(kept)
    columns = {
        "score": pa.array(scores, pa.float32()),
        "verdict": pa.array(verdicts, pa.string()),
        "explanation": pa.array(explanations, pa.string()),
        "run_id": pa.array([wanted.run_id] * part.num_rows),
    }
    if wanted.meaning is not None and "remark" in part.schema.names:
        columns["remark"] = _remarks(part, wanted, wanted.meaning, scores, own_verdicts, looks)
    if strip.is_on:
        columns |= _strip_columns(part, own_verdicts, looks)
    for name, values in columns.items():
        part = part.set_column(part.schema.get_field_index(name), part.schema.field(name), values)
    if target.facts_of(wanted, shard) is None:
        target.write_part(shard, part_bytes(part, wanted.sharding, shard, wanted.result_schema))
    return changed, unexplained, unlooked


def _looks(part: pa.Table, run: RunFile) -> list[Look | None]:
    """What the variants of each image are now taken for."""
    if not run.strip.is_on:
        return [None] * part.num_rows
    return [run.strip.read_look(row) for row in part.select(STRIP_NAMES).to_pylist()]


def _strip_columns(part: pa.Table, verdicts: list[Verdict | None], looks: list[Look | None]) -> dict[str, pa.Array]:
    """The columns of the strip under the new calibration."""
    rows = [
        {} if look is None or verdict is None else look.columns(verdict)
        for verdict, look in zip(verdicts, looks, strict=True)
    ]
    return {name: pa.array([row.get(name) for row in rows], part.schema.field(name).type) for name in STRIP_NAMES}


def _remarks(
    part: pa.Table,
    run: RunFile,
    meaning: Meaning,
    scores: list[float | None],
    verdicts: list[Verdict | None],
    looks: list[Look | None],
) -> pa.Array:
    """What belongs beside the new verdicts; `verdicts` are those of the images as they are."""
    reader = Reader(meaning, run.identity.ask.calibration, run.identity.image)
    columns = (part[name].to_pylist() for name in ("logit", "off_script", "width", "height"))
    remarks: list[str | None] = []
    for verdict, score, look, logit, off_script, width, height in zip(verdicts, scores, looks, *columns, strict=True):
        if verdict is None or score is None:
            remarks.append(None)
            continue
        reading = reader.read(
            verdict=verdict, score=score, logit=logit, off_script=off_script, width=width, height=height
        )
        if look is None:
            remarks.append(reading.remark)
        else:
            remarks.append(run.strip.remark(reading, look, own=verdict, score=score, meaning=meaning))
    return pa.array(remarks, pa.string())
