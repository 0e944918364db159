"""The certificate of a server: what is wrong with it in one line, and its renewal under a running uvicorn."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from fakescan.serve.gate import uvicorn_protocol
from fakescan.serve.operation import tls
from fakescan.serve.operation.tls import CertificateRenewal, check_certificate
from fakevlm.errors import UserError
from tests.certificates import CertificateFiles, write_certificate

pytestmark = pytest.mark.unit


def checked(files: CertificateFiles, password: str | None = None) -> str | None:
    return check_certificate(str(files.certificate), str(files.key), password)


def test_a_good_certificate_has_no_fault(tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    assert checked(files) is None
    both = tmp_path / "both.pem"
    both.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    assert checked(CertificateFiles(both, both)) is None


def test_an_expired_certificate_is_told(tmp_path: Path) -> None:
    assert "expired" in (checked(write_certificate(tmp_path, days=-1)) or "")


def test_a_key_with_a_password(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, password=b"secret")
    assert checked(files, "secret") is None
    with pytest.raises(UserError, match="is encrypted; name its password"):
        checked(files)
    with pytest.raises(UserError) as caught:
        checked(files, "wrong")
    assert "secret" not in str(caught.value)
    assert "the password is wrong" in str(caught.value)


def test_what_is_no_pair_is_one_line(tmp_path: Path) -> None:
    one, other = write_certificate(tmp_path, "one"), write_certificate(tmp_path, "other")
    text = tmp_path / "text.pem"
    text.write_text("no PEM\n")
    empty = tmp_path / "empty.pem"
    empty.touch()
    for files, words in (
        (CertificateFiles(one.certificate, other.key), "does not belong"),
        (CertificateFiles(text, one.key), "not PEM"),
        (CertificateFiles(one.certificate, text), "not PEM"),
        (CertificateFiles(one.certificate, one.certificate), "tls-cert: .* has no private key; name it with --tls-key"),
        (CertificateFiles(one.certificate, other.certificate), "tls-key: .* has no private key"),
        (CertificateFiles(one.certificate, empty), "tls-key: .*empty.pem has no private key"),
        (CertificateFiles(one.key, one.certificate), "tls-cert: .* has no certificate; are .* swapped"),
        (CertificateFiles(tmp_path / "none.pem", one.key), "tls-cert: cannot read"),
        (CertificateFiles(one.certificate, tmp_path), "tls-key: cannot read"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            checked(files)
        assert "\n" not in str(caught.value)


@contextmanager
def serving(files: CertificateFiles) -> Iterator[int]:
    """A uvicorn with the gate's protocol; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        PlainTextResponse("ok"), http=uvicorn_protocol.BoundedProtocol, lifespan="off", log_config=None,
        ssl_certfile=str(files.certificate), ssl_keyfile=str(files.key),
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.002)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


def certificate_at(port: int) -> str:
    """The certificate that a new connection gets, and proof that it is served with."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        ssl._create_unverified_context().wrap_socket(plain) as wrapped,
    ):
        wrapped.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert wrapped.recv(100).startswith(b"HTTP/1.1 200")
        return ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(binary_form=True) or b"")


def test_a_renewed_certificate_is_served_and_half_a_pair_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_LOOK_S", 0.05)
    monkeypatch.setattr(uvicorn_protocol, "_renewal", CertificateRenewal())
    (tmp_path / "new").mkdir()
    files, new = write_certificate(tmp_path), write_certificate(tmp_path / "new")
    before = files.certificate.read_text()
    with serving(files) as port:
        assert certificate_at(port) == before
        files.certificate.write_bytes(new.certificate.read_bytes())
        for _ in range(3):
            time.sleep(0.06)
            assert certificate_at(port) == before, "its key is not there yet"
        files.key.write_bytes(new.key.read_bytes())
        time.sleep(0.5)  # nobody connects meanwhile
        assert certificate_at(port) == new.certificate.read_text() != before
        files.key.unlink()
        time.sleep(0.1)
        assert certificate_at(port) == new.certificate.read_text()
