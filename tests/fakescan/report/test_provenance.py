"""The same files through scan, serve and report: each says everywhere what the reader finds in it."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fakescan.cli.main import main
from fakescan.engine.config import SimulatedConfig
from fakescan.report.build import ReportSettings, build_report
from fakescan.run.folder import RunFolder
from fakescan.run.summary.summary import summarize
from fakescan.run.verify import verify
from fakescan.serve.config import ServeConfig
from fakescan.serve.detector import Detector
from fakescan.storage.store import Store
from fakevlm.provenance import Provenance, TrustLists, read, sentence
from tests.fakescan.serve.api.replica import send
from tests.provenance_files import JPEG, PNG, claims
from tests.signed_files import GENERATED, Authority, Signer, action

pytestmark = pytest.mark.cluster

BATCH = 16


@dataclass(frozen=True)
class Scanned:
    """A scan of the files, and the trust list that it was given."""

    folder: RunFolder
    files: dict[str, bytes]
    pem: Path

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """By the name of the file."""
        rows = self.folder.rows(self.folder.open()).to_pylist()
        return {Path(row["uri"]).stem: row for row in rows}

    def expected(self, name: str) -> Provenance:
        return read(self.files[name], trust=TrustLists.from_path(self.pem))


def scan(*words: object) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in words])
    signal.signal(signal.SIGTERM, before)
    assert not exit.value.code


@pytest.fixture(scope="module")
def scanned(ray_cluster: str, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    root = tmp_path_factory.mktemp("provenance")
    authority = Authority.make()
    trusted = Signer(authority)
    files = {f"claim {number}": claim.file for number, claim in enumerate(claims().values())}
    signed = {
        "trusted generated": trusted.sign(PNG, "PNG"),
        "trusted captured": trusted.sign(JPEG, "JPEG", [action("c2pa.created", "digitalCapture")]),
        "trusted signed": trusted.sign(JPEG, "JPEG", [action("c2pa.created")]),
        "unknown": Signer(Authority.make("Other"), "Other Ltd").sign(JPEG, "JPEG"),
        "expired": Signer(authority, "Past Ltd", days=(-400, -100)).sign(PNG, "PNG", [GENERATED]),
        "remote": trusted.sign(JPEG, "JPEG", remote="http://127.0.0.1:9/manifest"),
    }
    changed = bytearray(signed["trusted captured"])
    changed[-40] ^= 1
    files |= {**signed, "changed": bytes(changed), "cut": signed["trusted captured"][:-300], "no image": b"parameters"}
    (root / "images").mkdir()
    for name, data in files.items():
        (root / "images" / f"{name}.jpg").write_bytes(data)
    (root / "trust.pem").write_text(authority.pem)
    words = ["--shard-rows", 64, "--model", tiny_model, "--engine", "fake", "--trust-list", root / "trust.pem"]
    scan("scan", root / "images", "-o", root / "run", "--max-error-rate", 1, *words)
    return Scanned(RunFolder(str(root / "run"), Store()), files, root / "trust.pem")


def test_each_row_says_what_the_reader_finds(scanned: Scanned) -> None:
    rows = scanned.rows
    assert rows.keys() == scanned.files.keys()
    for name, row in rows.items():
        expected = scanned.expected(name)
        said = tuple(value for column, value in row.items() if column.startswith("provenance"))
        assert said == tuple(expected), name
    assert rows["trusted generated"]["provenance_basis"] == "c2pa_trusted"
    assert rows["trusted captured"]["provenance"] == "captured"
    assert rows["trusted signed"]["provenance"] == "signed_other"
    assert rows["unknown"]["provenance_basis"] == "c2pa_untrusted"
    assert rows["expired"]["provenance_basis"] == "c2pa_expired"
    assert rows["changed"]["provenance"] == rows["remote"]["provenance"] == rows["no image"]["provenance"] == "none"
    assert rows["no image"]["error_code"] == "not_an_image"
    assert not verify(scanned.folder).problems
    run = scanned.folder.open()
    assert run.trust_list is not None
    assert (run.trust_list.source, run.trust_list.sha256) == (
        str(scanned.pem), TrustLists.from_path(scanned.pem).sha256,
    )  # fmt: skip
    counts: dict[str, int] = {}
    for row in rows.values():
        key = "/".join(filter(None, (row["provenance"], row["provenance_basis"])))
        counts[key] = counts.get(key, 0) + 1
    assert summarize(scanned.folder).provenance == dict(sorted(counts.items()))


def test_a_server_says_the_same(scanned: Scanned) -> None:
    detector = Detector(ServeConfig(no_auth=True, engine=SimulatedConfig(tokens=2), trust_list=str(scanned.pem)))
    try:
        names = list(scanned.files)
        for first in range(0, len(names), BATCH):
            files = [("file", (name, scanned.files[name])) for name in names[first : first + BATCH]]
            answer = send(detector, "POST", "/v1/detect", files=files)
            assert answer.status_code == 200, answer.text
            for result in answer.json()["results"]:
                expected, said = scanned.expected(result["name"]), result["provenance"]
                assert (said["origin"], said["basis"], said["generator"], said["signer"]) == expected[:4], result[
                    "name"
                ]
                assert said["detail"] == (json.loads(expected.detail) if expected.detail else None)
        about = send(detector, "GET", "/v1/about").json()
        assert about["trust_list"]["sha256"] == TrustLists.from_path(scanned.pem).sha256
    finally:
        detector.close()


def test_the_report_counts_the_same(scanned: Scanned, tmp_path: Path) -> None:
    report = build_report(scanned.folder, RunFolder(str(tmp_path / "report"), Store()), ReportSettings(thumbs=0))
    found = report.provenance
    assert found is not None
    rows = scanned.rows.values()
    assert found.read == len(rows)
    files = [f"{tmp_path}/report/{report.data}{file.name}" for file in report.rows.files]
    words = {
        Path(uri).stem: said
        for uri, said in duckdb.sql(f"SELECT uri, origin_words FROM read_parquet({files})").fetchall()
    }
    for name, said in words.items():
        expected = sentence(scanned.expected(name))
        assert said == (None if expected == sentence(Provenance()) else expected), name
    assert words["changed"].startswith("has Content Credentials of another picture")
    for origin in found.origins:
        said = [row for row in rows if (row["provenance"] or "unread") == origin.name]
        assert origin.rows == len(said)
        assert origin.trusted == sum(row["provenance_basis"] == "c2pa_trusted" for row in said)
    trusted = {row["provenance"] for row in rows if row["provenance_basis"] == "c2pa_trusted"}
    assert {row.name for row in found.cross} == trusted >= {"ai_generated", "captured"}
    assert any("and so do these rates" in note for note in found.notes), "the engine is simulated"
    page = (tmp_path / "report" / "report.html").read_text()
    assert "that a trusted signer calls AI-generated" in page
    assert str(scanned.pem) in page
