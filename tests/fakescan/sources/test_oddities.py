"""One odd object, name or folder is a row or a count of its own, and never the end of the rest."""

import datetime
import ipaddress
import os
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakescan.sources.fetch import Fetcher
from fakescan.sources.manifest import MANIFEST_SCHEMA
from fakescan.sources.reading import LeftOutReason
from fakescan.sources.source import Source, open_source
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode
from tests.web_server import Answer, WebServer

pytestmark = pytest.mark.unit


def listed(source: object, store: Store | None = None) -> tuple[Source, list[str]]:
    found = open_source(str(source), store or Store())
    return found, [uri for table in found for uri in table["uri"].to_pylist()]


def fetched(*uris: str) -> list[tuple[str | None, str | None]]:
    import pyarrow as pa

    table = pa.Table.from_pylist([{"row_id": row, "uri": uri} for row, uri in enumerate(uris)], MANIFEST_SCHEMA)
    return [(result.error_code, result.error_message) for result in Fetcher(Store()).fetch(table)]


def write(path: Path, data: bytes = b"image") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"file://{path}"


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://127.0.0.1:9/a.jpg", "github://owner:name@main/a.jpg", "sftp://127.0.0.1:9/a.jpg", "hdfs://nowhere:1/a",
        "gopher://old/a.jpg", "zip://a.jpg::file:///nowhere.zip", "data:image/png;base64,@@@", "http://", "https://[::1/a",
        "s3://", "http://127.0.0.1:1/a.jpg", "smb://nobody/a", "https://exa mple/a.jpg", "tar://a::b::c", "file:///no\0.jpg",
    ],
)  # fmt: skip
def test_an_address_nobody_can_read_is_its_own_row(uri: str, tmp_path: Path) -> None:
    good = write(tmp_path / "a.jpg")
    (first, _), (code, message), (last, _) = fetched(good, uri, good)
    assert (first, last) == (None, None)
    assert code in set(ErrorCode), message
    assert message
    assert "\n" not in message


class TestFolders:
    def test_links_to_themselves_are_rows_with_an_error(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "a.jpg")
        (tmp_path / "in" / "loop.jpg").symlink_to("loop.jpg")
        (tmp_path / "in" / "one.jpg").symlink_to("two.jpg")
        (tmp_path / "in" / "two.jpg").symlink_to("one.jpg")
        (tmp_path / "in" / "self").symlink_to(tmp_path / "in", target_is_directory=True)
        source, uris = listed(tmp_path / "in")
        assert [Path(uri).name for uri in uris] == ["a.jpg", "loop.jpg", "one.jpg", "two.jpg"]
        assert source.left_out.seen == 4 + source.left_out.total
        assert [code is None for code, _ in fetched(*uris)] == [True, False, False, False]

    def test_what_macos_leaves_is_left_out_and_counted(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "a.jpg")
        for name in ("._a.jpg", ".DS_Store", "__MACOSX/a.jpg", "deep/__MACOSX/._b.jpg", "deep/._c.png"):
            write(tmp_path / "in" / name)
        source, uris = listed(tmp_path / "in")
        assert len(uris) == 1
        assert source.left_out.counts[LeftOutReason.HIDDEN] == 5
        assert source.left_out.seen == 6

    @pytest.mark.parametrize("name", ["set {a,b}", "set{", "a{1..3}b", "x[1]{y}", "what?", "st*r"])
    def test_names_that_look_like_patterns_exist_first(self, name: str, tmp_path: Path) -> None:
        write(tmp_path / name / "a.jpg")
        write(tmp_path / "set a" / "wrong.jpg")
        _, uris = listed(tmp_path / name)
        assert [uri.rsplit("/", 1)[1] for uri in uris] == ["a.jpg"]

    def test_pipes_and_sockets_are_counted(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "a.jpg")
        os.mkfifo(tmp_path / "in" / "pipe.jpg")
        source, uris = listed(tmp_path / "in")
        assert len(uris) == 1
        assert source.left_out.counts[LeftOutReason.NOT_A_FILE] == 1

    def test_names_that_are_not_utf8(self, tmp_path: Path) -> None:
        folder = os.fsencode(tmp_path) + b"/in\xff"
        os.mkdir(folder)
        with open(folder + b"/caf\xe9.jpg", "wb") as file:
            file.write(b"image")
        source = "file://" + str(tmp_path) + "/in%FF"
        _, uris = listed(source)
        assert [uri.rsplit("/", 1)[1] for uri in uris] == ["caf%E9.jpg"]
        assert fetched(*uris) == [(None, None)]


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_certificate_trouble_says_what_it_is(self_signed: str) -> None:
    ((code, message),) = fetched(f"{self_signed}/a.jpg")
    assert code == ErrorCode.FETCH_FAILED
    assert message is not None
    assert "certificate" in message
    assert "self-signed" in message or "self signed" in message


@pytest.mark.parametrize("status", [400, 401, 403])
def test_an_expired_presigned_address_says_so(status: int) -> None:
    with WebServer() as web:
        web.answers["/a.jpg"] = Answer(b"<Error/>", status)
        query = "X-Amz-Date=20200101T000000Z&X-Amz-Expires=60&X-Amz-Signature=secret"
        (code, message), (other, words) = fetched(f"{web.url}/a.jpg?{query}", f"{web.url}/a.jpg?b=1")
    assert code == ErrorCode.DENIED
    assert message == "the presigned address expired on 2020-01-01 00:01 UTC"
    assert "expired" not in (words or "")
    assert other is not None
