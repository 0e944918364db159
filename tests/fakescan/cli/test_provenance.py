"""`fakescan provenance`: what people and programs read of single files, and the trust lists that it fetches."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.main import main
from tests.conftest import Bucket
from tests.provenance_files import JPEG, PARAMETERS, png_with
from tests.signed_files import Authority, Signer
from tests.web_server import Answer, WebServer

pytestmark = pytest.mark.unit

Run = Callable[..., tuple[str, str]]
COLUMNS = ("provenance", "provenance_basis", "provenance_generator", "provenance_signer")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in this process, with a cache folder of its own."""
    monkeypatch.setenv("FAKEVLM_CACHE", str(tmp_path / "cache"))

    def command(*arguments: object, status: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as exit:
            main(["provenance", *map(str, arguments)])
        out, err = capfd.readouterr()
        assert (exit.value.code or 0) == status, f"{out}\n{err}"
        assert "Traceback" not in err
        return out, err

    return command


@pytest.fixture
def authority() -> Authority:
    return Authority.make()


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_for_people_and_for_programs(run: Run, authority: Authority, tmp_path: Path) -> None:
    text, signed, plain = (tmp_path / name for name in ("text.png", "signed.jpg", "plain.jpg"))
    text.write_bytes(png_with(("parameters", PARAMETERS)))
    signed.write_bytes(Signer(authority).sign(JPEG, "JPEG"))
    plain.write_bytes(JPEG)
    (tmp_path / "list.pem").write_text(authority.pem)
    out, err = run(text, signed, plain, "--trust-list", tmp_path / "list.pem")
    heads = [line.split() for line in out.splitlines() if not line.startswith(" ")]
    assert heads == [
        ["ai_generated", str(text), "(PNG)"],
        ["ai_generated", str(signed), "(JPEG)"],
        ["none", str(plain), "(JPEG)"],
    ]
    assert "signed by Acme AI, Inc., a signer of the trust list" in " ".join(out.split())
    assert "which anybody can write" in " ".join(out.split())
    assert "says nothing about its origin" in out
    assert err == ""

    out, err = run("-v", "read", "--json", text, signed, plain, "--trust-list", tmp_path / "list.pem")
    records = objects(out)
    assert [tuple(record[name] for name in COLUMNS) for record in records] == [
        ("ai_generated", "text", "Stable Diffusion web UI", None),
        ("ai_generated", "c2pa_trusted", "Acme Image 2", "Acme AI, Inc."),
        ("none", None, None, None),
    ]
    assert json.loads(records[1]["provenance_detail"])["c2pa"]["state"] == "trusted"
    assert records[0]["trust_list"]["source"] == str(tmp_path / "list.pem")
    assert records[0]["sha256"]


def test_it_is_said_that_signers_were_not_checked(run: Run, authority: Authority, tmp_path: Path) -> None:
    signed = tmp_path / "signed.jpg"
    signed.write_bytes(Signer(authority).sign(JPEG, "JPEG"))
    out, err = run(signed, "--json")
    assert objects(out)[0]["provenance_basis"] == "c2pa_untrusted"
    assert objects(out)[0]["trust_list"] is None
    assert "no C2PA trust list" in err
    assert "update-trust" in err
    plain = tmp_path / "plain.jpg"
    plain.write_bytes(JPEG)
    assert run(plain)[1] == ""


def test_addresses_and_standard_input(run: Run, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    data = png_with(("parameters", PARAMETERS))
    s3_bucket.put("a b.png", data)
    options = {name: secret.get_secret_value() for name, secret in s3_bucket.store.options.items()}
    flags = [flag for name, value in options.items() for flag in ("--input-option", f"{name}={value}")]
    flags += ["--input-endpoint", str(s3_bucket.store.endpoint_url)]
    with WebServer() as server:
        server.answers["/a.png"] = Answer(data)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        out, _ = run("--json", *flags, f"{s3_bucket.url}/a b.png", "-")
        web, _ = run("--json", f"{server.url}/a.png")
    assert [record["provenance"] for record in objects(out + web)] == ["ai_generated"] * 3


def test_errors_are_lines_with_the_code(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "words.txt").write_text("no image at all")
    (tmp_path / "big.jpg").write_bytes(JPEG + bytes(2000))
    names = ["empty.jpg", "words.txt", "big.jpg", "gone.jpg"]
    out, err = run("--max-bytes", "2000", *(tmp_path / name for name in names), status=1)
    codes = [line.split(":")[0].strip() for line in out.splitlines() if line.startswith("    ")]
    assert codes == ["empty", "not_an_image", "too_large", "not_found"]
    assert err.splitlines()[-1].endswith("4 of 4 files could not be read")
    out, _ = run("--json", tmp_path / "gone.jpg", status=1)
    assert (objects(out)[0]["provenance"], objects(out)[0]["error_code"]) == (None, "not_found")


def test_wrong_use_is_one_line(run: Run, tmp_path: Path) -> None:
    image, words = tmp_path / "a.jpg", tmp_path / "words.pem"
    image.write_bytes(JPEG)
    words.write_text("no certificate")
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        ([tmp_path], "is a folder, and provenance reads single images"),
        ([image, "--trust-list", tmp_path / "gone.pem"], "--trust-list"),
        ([image, "--trust-list", words], "not a PEM file with certificates"),
        ([image, "--trust-list", tmp_path / "empty"], "no *.pem files"),
        (["-", "-"], "only once"),
        (["--nonsense", image], "--nonsense"),
        (["update-trust", "--from", ""], "--from"),
    ):
        out, err = run(*arguments, status=2)
        assert said in err
        assert len(err.splitlines()) == 1, err
        assert out == ""


def test_help_is_the_group_s(run: Run) -> None:
    out, _ = run("--help")
    assert "update-trust" in out
    assert "FILE" in out
    assert run()[0] == out
    assert "--trust-list" in run("read", "--help")[0]


def test_lists_are_fetched_kept_and_found_again(run: Run, authority: Authority, tmp_path: Path) -> None:
    signed = tmp_path / "signed.jpg"
    signed.write_bytes(Signer(authority).sign(JPEG, "JPEG"))
    other = Authority.make("Time")
    with WebServer() as server:
        server.answers["/signers.pem"] = Answer(f"# a comment\n{authority.pem}".encode())
        server.answers["/times.pem"] = Answer(other.pem.encode() * 2)
        server.answers["/words.pem"] = Answer(b"<html>not here</html>")
        addresses = [f"{server.url}/signers.pem", f"{server.url}/times.pem"]
        out, err = run("update-trust", "--from", addresses[0], "--from", addresses[1])
        assert out.startswith("2 certificates of 20")
        assert err == ""
        record = objects(run("--json", signed)[0])[0]
        assert record["provenance_basis"] == "c2pa_trusted"
        assert record["trust_list"] == {
            "source": " ".join(addresses),
            "dated": out.split()[3],
            "sha256": out.split()[-1],
        }
        kept = json.loads((tmp_path / "cache" / "c2pa-trust" / "record.json").read_text())
        assert set(kept["files"]) == set(addresses)
        # Whatever goes wrong, the lists that are there stay.
        for address, said in ((f"{server.url}/gone.pem", "not_found"), (f"{server.url}/words.pem", "not a PEM file")):
            _, err = run("update-trust", "--from", address, status=1)
            assert said in err
            assert len(err.splitlines()) == 1
    assert objects(run("--json", signed)[0])[0]["provenance_basis"] == "c2pa_trusted"
    assert sorted(os.listdir(tmp_path / "cache" / "c2pa-trust")) == ["lists.pem", "record.json"]


def test_a_list_that_is_old_is_said_to_be(run: Run, authority: Authority, tmp_path: Path) -> None:
    signed, folder = tmp_path / "signed.jpg", tmp_path / "cache" / "c2pa-trust"
    signed.write_bytes(Signer(authority).sign(JPEG, "JPEG"))
    (tmp_path / "mine.pem").write_text(authority.pem)
    run("update-trust", "--from", tmp_path / "mine.pem")
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "dated": "2026-01-02"}))
    out, err = run("--json", signed)
    assert objects(out)[0]["provenance_basis"] == "c2pa_trusted"
    assert "days old" in err
    assert "update-trust" in err


def test_a_cache_that_cannot_be_written_to_is_named(run: Run, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    (tmp_path / "mine.pem").write_text(authority.pem)
    _, err = run("update-trust", "--from", tmp_path / "mine.pem", status=2)
    assert "FAKEVLM_CACHE" in err
