"""What the one sees who runs a server: its lines, its logs, its ports, its certificate."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import yaml

from tests.certificates import CertificateFiles, write_certificate
from tests.faulty_server import PROXY, REPLICA
from tests.scan_process import running
from tests.serve_process import PAIRS, Served, free_port, open_to_others

pytestmark = pytest.mark.cluster

LOG_BYTES = 20_000


@dataclass
class Operated(Served):
    """A server with a certificate of its own."""

    files: CertificateFiles = field(kw_only=True)

    @property
    def logs(self) -> Path:
        (line,) = [line for line in self.process.lines["err"] if line.startswith("logs: ")]
        return Path(line.removeprefix("logs: ").strip())


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("operated")
    files = write_certificate(folder, password=b"secret")
    port = free_port()
    application = {
        "name": "fakevlm",
        "import_path": "fakescan.serve.app:build",
        "args": {"no_auth": True, "engine": {"kind": "fake"}, "access_log": {"max_bytes": LOG_BYTES, "files": 2}},
        "runtime_env": {"env_vars": {"OF_THE_REPLICAS": "yes"}},
    }
    file = folder / "serve.yaml"
    settings = {
        "http_options": {
            "port": port,
            "ssl_certfile": str(files.certificate),
            "ssl_keyfile": str(files.key),
            "ssl_keyfile_password": "secret",
        },
        "controller_options": {"runtime_env": {"env_vars": {"OF_THE_PROXIES": "yes"}}},
        "logging_config": {"encoding": "JSON"},
        "applications": [application],
    }
    file.write_text(yaml.safe_dump(settings))
    environment = {"RAY_ROTATION_MAX_BYTES": str(LOG_BYTES), "RAY_ROTATION_BACKUP_COUNT": "1"}
    with running("serve", "--config", file, environment=environment) as process:
        process.wait_for("the server answers", lambda: "serving" in process.out, 240)
        yield Operated(process, f"https://127.0.0.1:{port}", files=files)
        process.press_ctrl_c()
        assert process.end(60) == 0, process.err
        assert "Traceback" not in process.err


def client(operated: Operated) -> httpx.Client:
    return operated.client(verify=ssl.create_default_context(cafile=str(operated.files.certificate)))


def test_it_speaks_tls_and_nothing_else(operated: Operated) -> None:
    assert f"on {operated.url}/ " in operated.process.out
    with client(operated) as secure:
        answer = secure.post("/v1/detect", files={"file": PAIRS[0].read_bytes()}).raise_for_status()
        assert answer.json()["results"][0]["verdict"]
        with secure.stream("POST", "/v1/detect?stream=true", files={"file": PAIRS[0].read_bytes()}) as stream:
            assert stream.headers["x-accel-buffering"] == "no"
            assert "event: done" in stream.read().decode()
    with pytest.raises(httpx.TransportError), httpx.Client() as plain:
        plain.get(operated.url.replace("https", "http") + "/healthz")


def test_it_says_what_it_does_and_where_its_logs_are(operated: Operated) -> None:
    lines = [line.strip() for line in operated.process.lines["err"]]
    assert lines[0] == "starting: Ray on this machine"
    assert "starting: Serve" in lines
    for kind in ("proxy", "replica", "controller"):
        (file, *_) = operated.logs.glob(f"{kind}_*.log")
        assert '"message"' in file.read_text(), "in JSON, as the Serve file says"


def test_nothing_but_the_server_itself_is_reached_from_elsewhere(operated: Operated) -> None:
    assert open_to_others(operated.process.pid) == set()
    with socket.create_connection(("127.0.0.1", int(operated.url.rpartition(":")[2]))):
        pass


def test_environments_of_the_serve_file_are_there(operated: Operated) -> None:
    for title, name in ((PROXY, "OF_THE_PROXIES"), (REPLICA, "OF_THE_REPLICAS")):
        (process,) = operated.below(title)
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert f"{name}=yes".encode() in environment


def test_logs_are_rotated(operated: Operated) -> None:
    with client(operated) as secure:
        for _ in range(150):
            assert secure.get("/v1/none").status_code == 404
    sizes = {file.name: file.stat().st_size for file in operated.logs.glob("access_*")}
    assert len(sizes) == 2, sizes
    assert max(sizes.values()) <= LOG_BYTES


def test_the_replica_of_a_real_engine_has_a_log(served: Served) -> None:
    """vLLM configures logging as it is imported, which would close the file."""
    (line,) = [line for line in served.process.lines["err"] if line.startswith("logs: ")]
    (log,) = Path(line.removeprefix("logs: ").strip()).glob("replica_*Detector*.log")
    assert "testing the engine" in log.read_text()
    assert "starting: loading the engine" in served.process.err
