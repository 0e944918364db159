"""A run with a stability strip, complete and made without Ray."""

import hashlib
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile, new_run
from fakescan.run.stability.columns import LOGITS, SCORES
from fakescan.run.stability.strip import Look
from fakescan.sources.manifest import write_manifest
from fakescan.storage.store import Store
from fakevlm.reading import Meaning
from tests.fakescan.run.conftest import identity

ROWS, SHARD_ROWS = 60, 16


def strip_row(run: RunFile, row_id: int, uri: str) -> dict[str, Any]:
    """Every seventh failed; of the others the score falls with the variants, and every eleventh lacks one of them."""
    strip = run.strip
    row: dict[str, Any] = {"row_id": row_id, "uri": uri, "model": run.model, "run_id": run.run_id}
    row |= {"scanned_at": datetime.now(UTC), "source_key": hashlib.sha256(uri.encode()).hexdigest()}
    if row_id % 7 == 3:
        return row | {"error_code": "not_found", "error_message": "no such key"}
    logit = (row_id % 20 - 8) / 4
    own = strip.own_verdict(logit)
    row |= {"verdict": own, "logit": logit, "off_script": 0.0, "score": 1 / (1 + math.exp(-logit))}
    row |= {"sha256": f"{row_id:064x}", "format": "JPEG", "width": 40, "height": 30, "num_bytes": 100 + row_id}
    row |= {"explanation": "This is a fake image."} if own == "fake" else {}
    if not strip.looks(row["source_key"], logit):
        return row
    scores = [strip.scored(logit - number / 4) for number in range(5)]
    look = Look((*scores[:4], None), "pad: why") if row_id % 11 == 0 else Look(tuple(scores))
    return row | look.columns(own) | {"verdict": strip.verdict(own, look.holds(own))}


def make_strip_run(
    folder: RunFolder, *, rows: int = ROWS, meaning: Meaning = Meaning.FULL, prefix: str = "s3://b/", **changes: Any
) -> RunFile:
    """Write the run; `changes` are of its identity."""
    uris = [f"{prefix}{number:04}.jpg" for number in range(rows)]
    info = write_manifest([pa.table({"uri": uris})], folder.fs, f"{folder.path}/manifest", source="/images")
    wanted = identity().model_copy(update={"stability": "all", "trained": True, "engine": "vllm", **changes})
    run = new_run(
        wanted,
        "m",
        None,
        fingerprint=info.fingerprint,
        rows=rows,
        population=rows,
        shard_rows=SHARD_ROWS,
        meaning=meaning,
    )
    folder.save(run)
    for shard in range(run.sharding.count):
        first = run.sharding.first(shard)
        found = [strip_row(run, row, uris[row]) for row in range(first, first + run.sharding.size(shard))]
        part = pa.Table.from_pylist(found, run.result_schema)
        folder.write_part(shard, part_bytes(part, run.sharding, shard, run.result_schema))
    return run


def change_row(folder: RunFolder, row_id: int, **values: Any) -> None:
    """Write a row's part anew with other values."""
    run = folder.open()
    shard = run.sharding.of(row_id)
    rows = folder.whole_part(shard).to_pylist()
    rows[row_id - run.sharding.first(shard)] |= values
    part = pa.Table.from_pylist(rows, run.result_schema)
    folder.write_part(shard, part_bytes(part, run.sharding, shard, run.result_schema))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Where a run is made."""
    return RunFolder(str(tmp_path / "run"), Store())


NO_STRIP: dict[str, Any] = dict.fromkeys((*SCORES, *LOGITS, "verdict_holds", "strip_note"))
