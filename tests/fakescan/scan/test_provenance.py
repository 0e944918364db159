"""What files say of their origin, in the rows of a scan: read beside the pixels, never in the place of a verdict."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from fakescan.run.folder import TRUST_LIST, RunFolder
from fakescan.run.identity import Identity
from fakescan.run.part_check import content_problem
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile, refuse_change
from fakescan.run.schema import PROVENANCE_FIELDS, RESULT_SCHEMA
from fakescan.run.summary.origins import counted_words, unchecked_words
from fakescan.scan import stages
from fakescan.scan.config import ScanConfig
from fakescan.scan.provenance import ReadProvenance, provenance_columns
from fakescan.scan.stages import Decode
from fakescan.scan.start.prepare import identity_of, resumes, start_run
from fakescan.scan.start.trust_list import read_list
from fakescan.scan.tables import FETCHED_SCHEMA
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.errors import UserError
from fakevlm.preprocess import ImageSpec
from fakevlm.provenance import Basis, Origin, Provenance
from tests.fakescan.run.conftest import result_rows

pytestmark = pytest.mark.unit

SPEC = ImageSpec(shortest_edge=28, crop=(28, 28))
NAMES = [field.name for field in PROVENANCE_FIELDS]
SAID = Provenance(Origin.CAPTURED, Basis.C2PA_TRUSTED, None, "A Camera", '{"c2pa": {}}')
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nTUlJ{}\n-----END CERTIFICATE-----\n"


class Says(ReadProvenance):
    """Says the same of every file."""

    def __call__(self, data: bytes) -> Provenance:
        return SAID


class Dies(ReadProvenance):
    """Ends its process over a file that says so."""

    def __call__(self, data: bytes) -> Provenance:
        if b"deadly" in data:
            os.kill(os.getpid(), signal.SIGKILL)
        return SAID


def fetched(*files: bytes | None) -> pa.Table:
    rows = [
        {"row_id": row, "uri": f"/{row}.png", "data": data, "error_code": None if data else "not_found"}
        for row, data in enumerate(files)
    ]
    return pa.Table.from_pylist(rows, FETCHED_SCHEMA)


@pytest.fixture
def png(tmp_path: Path) -> bytes:
    Image.new("RGB", (40, 30), (9, 99, 200)).save(tmp_path / "x.png")
    return (tmp_path / "x.png").read_bytes()


def said(table: pa.Table) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.select(NAMES).to_pylist()]


def test_a_file_that_is_no_image_still_says_where_it_comes_from(png: bytes) -> None:
    table = Decode(SPEC, 10**6, provenance=Says())(fetched(png, b"no image", None, b""))
    assert table["error_code"].to_pylist()[:3] == [None, "not_an_image", "not_found"]
    assert said(table)[:3] == [tuple(SAID), tuple(SAID), (None,) * 5]


def test_nobody_is_asked_where_it_is_turned_off(png: bytes) -> None:
    assert said(Decode(SPEC, 10**6)(fetched(png))) == [(None,) * 5]


def test_what_ends_the_reader_costs_no_verdict(png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "is_suspect", lambda what: True)
    table = Decode(SPEC, 10**6, provenance=Dies())(fetched(png, png + b"deadly", png))
    assert table["error_code"].to_pylist() == [None, None, None]
    assert [row[0] for row in said(table)] == ["captured", None, "captured"]
    detail = json.loads(said(table)[1][4])
    assert detail["unread"].startswith("reading the origin of this image alone failed twice: its process was killed by")


def test_the_text_of_a_generator_is_read(png: bytes, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 40x30, Model: x")
    Image.new("RGB", (40, 30)).save(tmp_path / "t.png", pnginfo=info)
    table = Decode(SPEC, 10**6, provenance=ReadProvenance())(fetched((tmp_path / "t.png").read_bytes(), png))
    assert [row[:2] for row in said(table)] == [("ai_generated", "text"), ("none", None)]


# ---- The run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tiny_model: Path) -> Checkpoint:
    return open_checkpoint(str(tiny_model))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (number, 9, 9)).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


def wanted(images: Path, output: Path, **settings: Any) -> ScanConfig:
    given = {"source": str(images), "output": str(output), "engine": {"kind": "fake"}, **settings}
    return ScanConfig.model_validate(given)


def identity(config: ScanConfig, checkpoint: Checkpoint) -> Identity:
    return identity_of(config, checkpoint, config.options(checkpoint, config.explain, Store()))


def begun(config: ScanConfig, checkpoint: Checkpoint) -> RunFolder:
    folder = RunFolder(config.output, Store())
    run = start_run(config, folder, identity(config, checkpoint), checkpoint)
    rows = folder.manifest(run).rows(0, run.rows)
    table = result_rows(run, rows)
    if run.reads_provenance:
        index = table.schema.get_field_index("provenance")
        table = table.set_column(index, table.schema.field(index), pa.array(["none"] * run.rows))
    folder.write_part(0, part_bytes(table, run.sharding, 0))
    assert content_problem(folder.whole_part(0), rows, run, 0) is None
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKEVLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fetch_list(cache: Path, number: int) -> None:
    (cache / "c2pa-trust").mkdir(parents=True, exist_ok=True)
    (cache / "c2pa-trust" / "trust.pem").write_text(CERTIFICATE.format(number))
    record = {"source": "https://trust.example/list", "dated": "2026-11-20"}
    (cache / "c2pa-trust" / "record.json").write_text(json.dumps(record))


def test_a_run_keeps_the_list_that_it_was_started_with(
    images: Path, tmp_path: Path, cache: Path, checkpoint: Checkpoint
) -> None:
    fetch_list(cache, 1)
    config = wanted(images, tmp_path / "run")
    folder = begun(config, checkpoint)
    run = folder.open()
    assert run.trust_list is not None
    assert (run.trust_list.source, run.trust_list.dated) == ("https://trust.example/list", "2026-11-20")
    assert run.identity.trust_list == run.trust_list.sha256
    fetch_list(cache, 2)
    assert resumes(folder, run, identity(config, checkpoint), None), "a list that was fetched since changes no run"
    found = read_list(folder, run)
    assert found is not None
    assert "TUlJ1" in found.pem
    assert found.sha256 == run.trust_list.sha256
    (Path(folder.path) / TRUST_LIST).write_text(CERTIFICATE.format(2))
    with pytest.raises(UserError, match=r"trust-list\.pem is not the trust list that this run was started with"):
        read_list(folder, run)


def test_another_named_list_is_another_run(images: Path, tmp_path: Path, cache: Path, checkpoint: Checkpoint) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.pem").write_text(CERTIFICATE.format(number))
    config = wanted(images, tmp_path / "run", trust_list=str(tmp_path / "1.pem"))
    folder = begun(config, checkpoint)
    assert resumes(folder, folder.open(), identity(config, checkpoint), None)
    other = wanted(images, tmp_path / "run", trust_list=str(tmp_path / "2.pem"))
    with pytest.raises(UserError, match="trust_list was"):
        resumes(folder, folder.open(), identity(other, checkpoint), None)
    off = wanted(images, tmp_path / "run", provenance=False)
    with pytest.raises(UserError, match=r"different settings \(provenance was True, now False\)"):
        resumes(folder, folder.open(), identity(off, checkpoint), None)


def test_a_list_that_is_none_is_refused_before_anything_starts(
    images: Path, tmp_path: Path, checkpoint: Checkpoint
) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    config = wanted(images, tmp_path / "run", trust_list=str(tmp_path / "x.pem"))
    with pytest.raises(UserError, match="not a PEM file with certificates"):
        identity(config, checkpoint)
    with pytest.raises(ValueError, match="trust_list: without provenance"):
        wanted(images, tmp_path / "run", trust_list="x.pem", provenance=False)


def test_a_run_of_an_earlier_version_goes_with_any_setting(
    images: Path, tmp_path: Path, cache: Path, checkpoint: Checkpoint
) -> None:
    fetch_list(cache, 1)
    config = wanted(images, tmp_path / "run")
    folder = begun(config, checkpoint)
    run = folder.open()
    stored = json.loads(run.model_dump_json())
    for name in ("provenance", "trust_list"):
        del stored["identity"][name]
    del stored["trust_list"]
    old = RunFile.model_validate({**stored, "schema_version": "4"})
    assert not old.reads_provenance
    for settings in ({}, {"provenance": False}):
        now = wanted(images, tmp_path / "run", **settings)
        refuse_change(folder.url, old, identity(now, checkpoint), None)


def test_a_part_without_what_the_run_reads_is_found(images: Path, tmp_path: Path, checkpoint: Checkpoint) -> None:
    folder = begun(wanted(images, tmp_path / "run"), checkpoint)
    run = folder.open()
    rows, part = folder.manifest(run).rows(0, run.rows), folder.whole_part(0)

    def with_values(**values: str | None) -> pa.Table:
        table = part
        for name, value in values.items():
            index = RESULT_SCHEMA.get_field_index(name)
            column = pa.array([value] * table.num_rows, pa.string())
            table = table.set_column(index, table.schema.field(index), column)
        return table

    for values, problem in (
        ({"provenance": None}, "has files that were not asked for their origin"),
        ({"provenance": "made up"}, "has an unknown provenance: made up"),
        ({"provenance": "captured"}, "has origins without a basis, or the other way round"),
        ({"provenance_basis": "iptc"}, "has origins without a basis, or the other way round"),
        ({"provenance": "captured", "provenance_basis": "x"}, "has an unknown provenance_basis: x"),
        ({"provenance": "captured", "provenance_basis": "iptc"}, None),
    ):
        assert content_problem(with_values(**values), rows, run, 0) == problem
    off = run.model_copy(update={"identity": run.identity.model_copy(update={"provenance": False})})
    assert content_problem(part, rows, off, 0) == "has origins, which this run does not read"


# ---- Words ----------------------------------------------------------------------------------------------------------


def test_counts_in_words() -> None:
    counts = {"none": 1240, "ai_generated/iptc": 2, "ai_generated/c2pa_trusted": 10, "captured/c2pa_untrusted": 1}
    assert counted_words(counts) == "AI-generated 12 (10 by a trusted signer), captured 1; nothing 1,240"
    assert counted_words({}) == ""
    assert counted_words({"none": 5}) == "nothing 5"
    assert "update-trust" in unchecked_words(counts, has_list=False)
    assert unchecked_words(counts, has_list=True) == unchecked_words({"captured/iptc": 2}, has_list=False) == ""


def test_columns_of_no_rows() -> None:
    assert {name: len(column) for name, column in provenance_columns([]).items()} == dict.fromkeys(NAMES, 0)
