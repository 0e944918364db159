"""A run with known truth, made without Ray: what samples are drawn from."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import new_run
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.sources.manifest import write_manifest
from fakescan.storage.store import Store
from tests.fakescan.run.conftest import identity

ROWS = 3000


@dataclass(frozen=True)
class KnownRun:
    """A run, and which of its images are fake, by their SHA-256."""

    folder: RunFolder
    truth: dict[str, bool]

    def write_labels(self, name: str, hashes: Sequence[str], **more: Any) -> str:
        """A file with the true labels of these images; its path."""
        path = Path(self.folder.path, "labels", f"{name}.jsonl")
        path.parent.mkdir(exist_ok=True)
        lines = [
            {"sha256": key, "label": "fake" if self.truth[key] else "real", "reviewer": name, **more} for key in hashes
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(path)


def known_run(
    folder: RunFolder,
    *,
    rows: int = ROWS,
    fakes: float = 0.05,
    seed: int = 0,
    uri: Callable[[int], str] = lambda row: f"s3://b/f{row % 7}/{row:06}.jpg",
    content: Callable[[int], str] = lambda row: f"image {row}",
    changes: Mapping[int, Mapping[str, Any]] | None = None,
) -> KnownRun:
    """Write a run with normal logits, every hundredth row an error; the truth depends on the content alone."""
    uris = [uri(row) for row in range(rows)]
    info = write_manifest([pa.table({"uri": uris})], folder.fs, f"{folder.path}/manifest", source="s3://b")
    run = new_run(identity(), "m", None, fingerprint=info.fingerprint, rows=rows, population=rows, shard_rows=256)
    folder.save(run)
    noise = np.random.default_rng(seed).standard_normal(rows)
    hashes = [hashlib.sha256(content(row).encode()).hexdigest() for row in range(rows)]
    truth = {key: int(key[:8], 16) / 2**32 < fakes for key in hashes}
    results = []
    for row, address in enumerate(uris):
        one: dict[str, Any] = {"row_id": row, "uri": address, "model": "m", "run_id": run.run_id}
        one |= {"scanned_at": datetime.now(UTC), "source_key": hashlib.sha256(address.encode()).hexdigest()}
        if row % 100 == 3:
            one |= {"error_code": "not_found", "error_message": "gone"}
        else:
            logit = float(np.float32((3 if truth[hashes[row]] else -3) + 2.5 * noise[row]))
            one |= {"verdict": "fake" if logit >= 0 else "real", "logit": logit, "score": 1 / (1 + math.exp(-logit))}
            one |= {"sha256": hashes[row], "off_script": 0.0, "format": "JPEG", "num_bytes": 9, "width": 1, "height": 1}
        results.append({**one, **(changes or {}).get(row, {})})
    table = pa.Table.from_pylist(results, RESULT_SCHEMA)
    for shard in range(run.sharding.count):
        part = table.slice(run.sharding.first(shard), run.sharding.size(shard))
        folder.write_part(shard, part_bytes(part, run.sharding, shard))
    return KnownRun(folder, truth)


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> KnownRun:
    """A run that no test writes into."""
    return known_run(RunFolder(str(tmp_path_factory.mktemp("known") / "run"), Store()))


@pytest.fixture
def known(untouched: KnownRun, tmp_path: Path) -> KnownRun:
    """A run of one's own."""
    import shutil

    shutil.copytree(untouched.folder.path, tmp_path / "run")
    return KnownRun(RunFolder(str(tmp_path / "run"), Store()), untouched.truth)
