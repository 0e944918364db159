"""A run of everything that a report has to count, with the images of some of its rows; made without Ray."""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fakescan.report.build import ReportSettings, build_report
from fakescan.report.images import thumbnails
from fakescan.report.report_file import ReportFile
from fakescan.report.rows import schema, sorted_batch
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import TrustListFacts, new_run
from fakescan.run.schema import result_schema
from fakescan.sources.manifest import write_manifest
from fakescan.storage.store import Store
from fakevlm.reading import Meaning
from tests.fakescan.run.conftest import identity

ROWS, SHARD_ROWS = 700, 16
HOSTILE = (
    "<img src=x onerror=document.title='owned'>.jpg",
    "\"><script>document.title='owned'</script>.jpg",
    "'-alert(1)-'.jpg",
    "\u202egpj.exe.jpg",
    "{{7*7}}%00${7*7}.jpg",
    "a\nb\tc\x1b[31m.jpg",
)
MODEL_WORDS = "This is a fake image. <script>document.title='owned'</script> The fingers of the hand melt & blur."
EDGES = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
"""Scores on the borders of bands; their neighbours in float32 are in the run as well."""


@dataclass(frozen=True)
class MadeRun:
    """A run, and where its images are."""

    folder: RunFolder
    images: Path


def picture(number: int) -> bytes:
    """A small JPEG."""
    sink = io.BytesIO()
    Image.new("RGB", (40 + number % 7, 30), (number % 256, 99, 200)).save(sink, "JPEG")
    return sink.getvalue()


ORIGINS = (
    ("ai_generated", "c2pa_trusted", "Model X", "Signer Inc."),
    ("captured", "c2pa_trusted", None, "Camera \u202eCorp."),
    ("ai_generated", "iptc", "<b>Model</b>", None),
    ("ai_edited", "c2pa_untrusted", None, "Nobody"),
    ("signed_other", "c2pa_expired", None, "Old Ltd."),
    ("composite", "c2pa_trusted", "Editor", "Signer Inc."),
)
"""What files say of their origin, where they say anything."""


def origin_of(row: int) -> dict[str, Any]:
    """The columns for it."""
    if row % 9 >= len(ORIGINS):
        return {"provenance": "none"}
    names = ("provenance", "provenance_basis", "provenance_generator", "provenance_signer")
    return {
        **dict(zip(names, ORIGINS[row % 9], strict=True)),
        "provenance_detail": json.dumps({"contains": [HOSTILE[0]]}),
    }


def score_of(row: int) -> float:
    """Few scores between the ends, borders of bands, and the numbers of float32 beside them."""
    if row < 3 * len(EDGES):
        edge = np.float32(EDGES[row // 3])
        return float(
            np.clip([np.nextafter(edge, np.float32(-1)), edge, np.nextafter(edge, np.float32(2))][row % 3], 0, 1)
        )
    return float(np.float32((row * 7919 % 1000) / 1000))


def phash_of(row: int) -> str | None:
    """Of seven rows two are one picture, in other qualities; some have hardly anything on them."""
    if row % 29 == 5:
        return None
    near = row % 7 in (2, 5)
    value = int.from_bytes(np.random.default_rng(row - row % 7 + 2 if near else row).bytes(32), "big")
    return f"{value ^ (0b1111_0000_1111 if row % 7 == 5 else 0):064x}"


def row_of(row: int, uri: str, data: bytes) -> dict[str, Any]:
    """A row of the run."""
    found: dict[str, Any] = {
        "row_id": row, "uri": uri, "model": "m", "run_id": "r", "generator": f"g{row % 3}",
        "scanned_at": datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=row),
    }  # fmt: skip
    if row % 23 == 22:
        codes = [("not_found", "no such key"), ("truncated", f"{row} bytes missing"), ("denied", "<b>no</b>")]
        code, message = codes[row % 3]
        said = origin_of(row) if code == "truncated" else {}
        return {**found, **said, "error_code": code, "error_message": message}
    found |= origin_of(row)
    score = score_of(row)
    verdict = "fake" if score >= 0.5 else "uncertain" if score >= 0.45 else "real"
    found |= {
        "sha256": hashlib.sha256(data).hexdigest(), "width": 40, "height": 30, "num_bytes": len(data),
        "format": "PNG" if row % 5 == 0 else "JPEG", "verdict": verdict, "score": score, "logit": score * 8 - 4,
        "phash": phash_of(row), "off_script": 0.6 if row % 31 == 0 else 0.01,
    }  # fmt: skip
    if verdict == "fake":
        found["explanation"] = MODEL_WORDS if row % 2 else "This is a fake image. The text on the sign is garbled."
    if row % 41 == 0:
        found |= {"error_message": "the file ends early", "remark": "Distrust this verdict."}
    return found


def make_report_run(root: Path, *, rows: int = ROWS, meaning: Meaning = Meaning.FULL) -> MadeRun:
    """Write the run, and the images of its rows: some are gone, some changed since, some damaged."""
    images = root / "images"
    folder = RunFolder(str(root / "run"), Store())
    names = [f"{images}/{'abc'[row % 3]}/{row % 11}/{row:04}.jpg" for row in range(rows)]
    for number, name in enumerate(HOSTILE if rows > 100 else ()):
        names[60 + number * 3] = f"{images}/hostile <b>/{name}"
    info = write_manifest([pa.table({"uri": names})], folder.fs, f"{folder.path}/manifest", source=str(images))
    ident = identity(str(images))
    selection = ident.selection.model_copy(update={"keep_columns": ("generator",)})
    run = new_run(
        ident.model_copy(update={"selection": selection, "trained": True, "engine": "vllm", "provenance": True}),
        "m",
        None,
        fingerprint=info.fingerprint,
        rows=rows,
        population=rows,
        shard_rows=SHARD_ROWS,
        meaning=meaning,
        trust_list=TrustListFacts(source="lists/trust.pem", dated="2026-08-05", sha256="0" * 64),
    )
    folder.save(run)
    full = result_schema(kept=("generator",))
    table = []
    for row, name in enumerate(names):
        data = picture(row // 10 if row % 10 == 9 else row)  # some are copies
        table.append(row_of(row, name, data))
        if row % 13 == 12:
            continue  # gone
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(picture(row + 1) if row % 17 == 16 else data)
    for shard in range(run.sharding.count):
        first = run.sharding.first(shard)
        part = pa.Table.from_pylist(table[first : first + SHARD_ROWS], full)
        folder.write_part(shard, part_bytes(part, run.sharding, shard, full))
    return MadeRun(folder, images)


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """The run; nobody writes into it."""
    return make_report_run(tmp_path_factory.mktemp("report"))


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files so small that a report has several of each kind."""
    with monkeypatch.context() as patch:
        use_small_files(patch)
        yield


def use_small_files(patch: pytest.MonkeyPatch) -> None:
    """The same, for as long as `patch` lasts."""
    patch.setattr(sorted_batch, "BATCH_ROWS", 128)
    patch.setattr(thumbnails, "_DECODERS", 1)
    for name, value in {
        "ROWS_PER_FILE": 256, "ROWS_PER_GROUP": 64, "ROWS_PER_PAGE": 16, "FACET_ROWS_PER_GROUP": 256,
        "FACET_ROWS_PER_FILE": 512, "THUMBS_PER_FILE": 64, "THUMBS_PER_GROUP": 8,
    }.items():  # fmt: skip
        patch.setattr(schema, name, value)


@dataclass(frozen=True)
class MadeReport:
    """A report of the run."""

    run: MadeRun
    target: RunFolder
    file: ReportFile

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.target.path)


@pytest.fixture(scope="session")
def made_report(made_run: MadeRun, tmp_path_factory: pytest.TempPathFactory) -> MadeReport:
    """A report with several files of each kind; nobody writes into it."""
    target = RunFolder(str(tmp_path_factory.mktemp("made") / "report"), Store())
    with pytest.MonkeyPatch.context() as patch:
        use_small_files(patch)
        file = build_report(made_run.folder, target, ReportSettings(thumbs=150))
    return MadeReport(made_run, target, file)
