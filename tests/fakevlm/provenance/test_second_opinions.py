"""What others read in the same files: exiftool, the C2PA library's own reports, and `c2patool` where it is there."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import c2pa
import pytest

from fakevlm.provenance import TrustLists, read
from tests.provenance_files import IPTC, JPEG, PNG, WEBP, claims
from tests.signed_files import TYPES, Authority, Signer, action

pytestmark = pytest.mark.unit

FORMATS = {b"\xff\xd8": "jpg", b"\x89P": "png", b"RI": "webp", b"GI": "gif"}
SOURCES = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "digitalCapture")


def report_of_exiftool(folder: Path, files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """What exiftool finds in each of the files, under group and name."""
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("exiftool is not installed (Debian: libimage-exiftool-perl)")
    names = []
    for name, data in files.items():
        path = folder / f"{len(names)}.{FORMATS.get(data[:2], 'bin')}"
        path.write_bytes(data)
        names.append(name)
    paths = sorted(folder.iterdir(), key=lambda path: int(path.stem))
    done = subprocess.run([program, "-j", "-G1", "-a", "-n", "-b", *map(str, paths)], capture_output=True, timeout=120)
    return dict(zip(names, json.loads(done.stdout), strict=True))


def test_exiftool_reads_the_same_fields(tmp_path: Path) -> None:
    known = {name: claim for name, claim in claims().items() if claim.tags}
    found = report_of_exiftool(tmp_path, {name: claim.file for name, claim in known.items()})
    for name, claim in known.items():
        for tag, value in claim.tags.items():
            assert str(found[name].get(tag)) == value, name
    assert len(known) > 12


def test_exiftool_reads_the_same_manifests(tmp_path: Path) -> None:
    signer = Signer(Authority.make())
    files = {source: signer.sign(PNG, "PNG", [action("c2pa.created", source)]) for source in SOURCES}
    for source, report in report_of_exiftool(tmp_path, files).items():
        assert report["CBOR:ActionsDigitalSourceType"] == IPTC + source
        assert report["CBOR:Claim_Generator_InfoName"] == "Acme Program"
        found = read(files[source])
        assert json.loads(found.detail or "")["sources"][0]["digital_source_type"] == source
        assert found.generator == f"Acme Program {report['CBOR:Claim_Generator_InfoVersion']:.1f}"


def verdict_of_the_library(file: bytes, format: str, trust: TrustLists) -> tuple[str, str, str]:
    """Its own word for a file, the signer and the source type, from its reports for people and for machines."""
    context = c2pa.Context.from_dict(
        {"verify": {"verify_trust": True, "remote_manifest_fetch": False}, "trust": {"trust_anchors": trust.pem}}
    )
    with c2pa.Reader(TYPES[format], io.BytesIO(file), context=context) as reader:
        state = reader.get_validation_state()
        active = reader.get_active_manifest()
        report = reader.crjson()
        assert state is not None
        assert active is not None
        source = active["assertions"][0]["data"]["actions"][0]["digitalSourceType"]
        assert source in report
        return state, active["signature_info"]["issuer"], source


@pytest.mark.parametrize(("format", "file"), [("JPEG", JPEG), ("PNG", PNG), ("WEBP", WEBP)])
def test_the_library_says_the_same_in_its_own_words(format: str, file: bytes) -> None:
    authority = Authority.make()
    ours, others = Signer(authority), Signer(Authority.make("Other"), "Other Ltd")
    for signer, states in ((ours, ("Trusted",)), (others, ("Valid", "Invalid"))):
        signed = signer.sign(file, format)
        state, issuer, source = verdict_of_the_library(signed, format, authority.trust)
        found = read(signed, trust=authority.trust)
        assert state in states
        assert (found.basis == "c2pa_trusted") == (state == "Trusted")
        assert found.signer == issuer
        assert json.loads(found.detail or "")["sources"][0]["digital_source_type"] == source.removeprefix(IPTC)
    changed = ours.sign(file, format)
    at = changed.rindex(file[-40:-20]) if format == "JPEG" else changed.rindex(file[60:70])
    changed = changed[:at] + bytes([changed[at] ^ 1]) + changed[at + 1 :]
    assert verdict_of_the_library(changed, format, authority.trust)[0] == "Invalid"
    assert json.loads(read(changed, trust=authority.trust).detail or "")["c2pa"]["state"] == "content_changed"


def test_c2patool_says_the_same(tmp_path: Path) -> None:
    program = shutil.which("c2patool")
    if program is None:
        pytest.skip("c2patool is not installed")
    authority = Authority.make()
    anchors = tmp_path / "anchors.pem"
    anchors.write_text(authority.pem)
    for signer, trusted in ((Signer(authority), True), (Signer(Authority.make("Other")), False)):
        file = tmp_path / "file.jpg"
        file.write_bytes(signer.sign(JPEG, "JPEG"))
        command = [program, str(file), "trust", "--trust_anchors", str(anchors)]
        report = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
        assert (report["validation_state"] == "Trusted") is trusted
        assert (read(file.read_bytes(), trust=authority.trust).basis == "c2pa_trusted") is trusted
