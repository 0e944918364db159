"""A run folder on disk, complete and made without Ray, for what reads or damages runs."""

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fakescan.engine.judging_options import JudgingOptions
from fakescan.run.folder import RunFolder
from fakescan.run.identity import Identity, Selection
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile, new_run
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.sources.manifest import write_manifest
from fakescan.storage.store import Store
from fakevlm.preprocess import ImageSpec
from fakevlm.prompt import PromptSpec

ROWS, SHARD_ROWS = 50, 16


def results(*rows: Mapping[str, Any]) -> pa.Table:
    full = {"uri": "s3://b/x.jpg", "model": "m", "run_id": "r", "scanned_at": 0}
    return pa.Table.from_pylist([{"row_id": index, **full, **row} for index, row in enumerate(rows)], RESULT_SCHEMA)


MIXED = results(
    {"verdict": "real"},
    {"verdict": "fake"},
    {"verdict": "fake"},
    {"verdict": "uncertain"},
    {"error_code": "denied", "error_message": "forbidden", "uri": "s3://b/1"},
    {"error_code": "empty", "error_message": "no bytes", "uri": "s3://b/2"},
    {"error_code": "denied", "error_message": "other words", "uri": "s3://b/3"},
)


def identity(source: str = "/images") -> Identity:
    """The identity of a run of the fake engine with all defaults."""
    return Identity(
        selection=Selection(source=source),
        engine="fake",
        dtype=None,
        weights_sha256="0" * 64,
        trained=False,
        prompt=PromptSpec(),
        image=ImageSpec(shortest_edge=84, crop=(84, 84)),
        ask=JudgingOptions(),
        max_bytes=2**20,
        max_pixels=10**6,
    )


def result_rows(run: RunFile, manifest: pa.Table) -> pa.Table:
    """Results for manifest rows: every seventh failed, the others alternately real and fake."""
    rows = []
    for row_id, uri in zip(manifest["row_id"].to_pylist(), manifest["uri"].to_pylist(), strict=True):
        row = {"row_id": row_id, "uri": uri, "model": run.model, "run_id": run.run_id, "scanned_at": datetime.now(UTC)}
        row["source_key"] = hashlib.sha256(uri.encode()).hexdigest()
        if row_id % 7 == 3:
            row |= {"error_code": "not_found", "error_message": "no such key"}
        else:
            logit = (1 if row_id % 2 else -1) * (1 + row_id % 50 / 64)
            row |= {"verdict": "fake" if row_id % 2 else "real", "logit": logit, "off_script": 0.0}
            row |= {"score": 1 / (1 + math.exp(-logit)), "sha256": f"{row_id:064x}", "format": "JPEG"}
            row |= {"width": 40, "height": 30, "num_bytes": 100 + row_id}
            row |= {"explanation": "This is a fake image."} if row_id % 2 else {}
        rows.append(row)
    return pa.Table.from_pylist(rows, RESULT_SCHEMA)


def make_run(folder: RunFolder, *, rows: int = ROWS, shard_rows: int = SHARD_ROWS, prefix: str = "s3://b/") -> RunFile:
    """Write a complete run into `folder`."""
    entries = pa.table({"uri": [f"{prefix}{number:04}.jpg" for number in range(rows)]})
    info = write_manifest([entries], folder.fs, f"{folder.path}/manifest", source="/images")
    run = new_run(
        identity(), "m", None, fingerprint=info.fingerprint, rows=info.rows, population=info.rows, shard_rows=shard_rows
    )
    folder.save(run)
    reader = folder.manifest(run)
    for shard in range(run.sharding.count):
        manifest = reader.rows(run.sharding.first(shard), run.sharding.size(shard))
        data = part_bytes(result_rows(run, manifest), run.sharding, shard)
        folder.write_part(shard, data)
    return run


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    """A complete run of 50 rows in 4 parts, the last of them short."""
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder)
    return folder
