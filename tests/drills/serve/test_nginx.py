"""The documented nginx in front of a server: TLS, streams as they come, bodies that never touch its disk."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.certificates import CertificateFiles, write_certificate
from tests.faulty_server import EXPLANATION_S, Faulty, faulty_server
from tests.serve_process import PAIRS, free_port

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]

FILE = Path(__file__).parents[3] / "cluster" / "nginx.conf"
MAIN = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    include {folder}/fakescan.conf;
}}
"""


def accepts(port: int) -> bool:
    """Whether something listens there; nginx's pid file says nothing of it, as `nginx -t` has made one."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass
class Fronted:
    """A server behind nginx."""

    faulty: Faulty
    url: str
    plain_url: str
    folder: Path
    files: CertificateFiles

    def client(self) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.files.certificate))
        headers = {"authorization": f"Bearer {self.faulty.key}"}
        return httpx.Client(base_url=self.url, verify=trust, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    files = write_certificate(folder)
    port, plain_port = free_port(), free_port()
    with faulty_server(tmp_path_factory.mktemp("faulty"), trusted_proxies=["127.0.0.1"]) as faulty:
        text = FILE.read_text()
        for documented, here in {
            "127.0.0.1:8000 ": faulty.url.removeprefix("http://") + " ",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "    listen [::]:443 ssl http2;\n": "",
            "listen 80;": f"listen 127.0.0.1:{plain_port};",
            "    listen [::]:80;\n": "",
            "/etc/ssl/fakescan/fullchain.pem": str(files.certificate),
            "/etc/ssl/fakescan/privkey.pem": str(files.key),
        }.items():
            assert documented in text
            text = text.replace(documented, here)
        (folder / "fakescan.conf").write_text(text)
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
        assert NGINX is not None
        command = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        assert "warn" not in checked.stderr, checked.stderr
        process = subprocess.Popen(command)
        served = Fronted(faulty, f"https://127.0.0.1:{port}", f"http://127.0.0.1:{plain_port}", folder, files)
        try:
            faulty.process.wait_for("nginx", lambda: accepts(port), 20)
            yield served
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def test_a_stream_comes_as_it_is_made(fronted: Fronted) -> None:
    """Each event whole, and long before the last one."""
    pieces: list[tuple[float, bytes]] = []
    with (
        fronted.client() as client,
        client.stream(
            "POST", "/v1/detect", params={"stream": "true", "explain": "all"}, files={"file": PAIRS[0].read_bytes()}
        ) as answer,
    ):
        for piece in answer.iter_raw():
            pieces.append((time.monotonic(), piece))
    assert b"".join(piece for _, piece in pieces).endswith(b"\n\n")
    assert len(pieces) >= 5
    assert all(piece.endswith(b"\n\n") for _, piece in pieces), "whole events"
    assert pieces[-1][0] - pieces[0][0] > EXPLANATION_S / 3, "not all at the end"


def test_the_largest_body_goes_through_and_a_larger_one_does_not(fronted: Fronted) -> None:
    with fronted.client() as client:
        most = 64 * 2**20
        inside = client.post("/v1/detect", content=b"\0" * (most - 1), headers={"content-type": "image/jpeg"})
        assert inside.json()["code"] == "not_an_image"
        beyond = client.post("/v1/detect", content=b"\0" * (most + 1), headers={"content-type": "image/jpeg"})
        assert beyond.status_code == 413
    assert [path for folder in ("bodies", "proxied") for path in (fronted.folder / folder).rglob("*")] == []


def test_a_body_is_not_on_nginx_disk_while_it_comes(fronted: Fronted) -> None:
    seen: list[Path] = []

    def slow() -> Iterator[bytes]:
        for _ in range(20):
            yield b"\0" * 500_000
            seen.extend(path for path in (fronted.folder / "bodies").rglob("*") if path.is_file())
            time.sleep(0.02)

    with fronted.client() as client:
        answer = client.post("/v1/detect", content=slow(), headers={"content-type": "image/jpeg"})
    assert answer.json()["code"] == "not_an_image"
    assert seen == []


def test_metrics_are_not_for_the_world_and_plain_http_is_sent_to_tls(fronted: Fronted) -> None:
    with fronted.client() as client:
        assert client.get("/metrics").status_code == 403
        assert client.get("/readyz").status_code == 200
    answer = httpx.get(f"{fronted.plain_url}/v1/models", headers={"host": "fakescan.example.org"})
    assert (answer.status_code, answer.headers["location"]) == (308, "https://fakescan.example.org/v1/models")


def test_one_address_has_so_many_connections_and_no_more(fronted: Fronted) -> None:
    trust = ssl.create_default_context(cafile=str(fronted.files.certificate))
    address = ("127.0.0.1", int(fronted.url.rpartition(":")[2]))
    request = b"POST /v1/detect HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: 9\r\n\r\n"
    with contextlib.ExitStack() as stack:

        def connect() -> ssl.SSLSocket:
            plain = stack.enter_context(socket.create_connection(address, timeout=10))
            wrapped = stack.enter_context(trust.wrap_socket(plain, server_hostname="127.0.0.1"))
            wrapped.sendall(request.replace(b"host: x", f"host: x\r\nx-api-key: {fronted.faulty.key}".encode()))
            return wrapped

        let_in = [connect() for _ in range(32)]
        refused = connect().recv(1000)
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"x-request-id" not in refused, "by nginx itself"
        for connection in let_in:
            connection.sendall(b"\0" * 9)
        assert all(b"x-request-id" in connection.recv(1000) for connection in let_in), "the server has seen the others"
