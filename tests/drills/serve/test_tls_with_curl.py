"""TLS by the commands of docs/serve.md: OpenSSL makes a certificate that signs itself, and curl is told to trust it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakescan.serve.keys import edit_keys
from tests.serve_process import PAIRS, Served, serving

PROGRAMS = ("openssl", "curl")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(None in map(shutil.which, PROGRAMS), reason=f"{' or '.join(PROGRAMS)} is not installed"),
]

LINES = (Path(__file__).parents[3] / "docs" / "serve.md").read_text().splitlines()
NO_TRUST, NO_HANDSHAKE = 60, 35
"""What curl exits with where it does not know the certificate, and where no version of TLS suits both."""


@dataclass
class Encrypted:
    """A server that speaks TLS, and the folder that has its certificate, the key for it and a photograph."""

    served: Served
    folder: Path

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        """What a documented command does and prints, at this server's port."""
        port = self.served.url.rpartition(":")[2]
        return shell(command.replace(":8443/", f":{port}/"), self.folder, KEY=str(self.served.key))


def shell(command: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


def documented(start: str) -> list[str]:
    """The lines of docs/serve.md that begin so; there is at least one."""
    found = [line for line in LINES if line.startswith(start)]
    assert found, start
    return found


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("encrypted")
    (make,) = documented("openssl req ")
    made = shell(make, folder)
    assert made.returncode == 0, made.stderr
    shutil.copy(PAIRS[0], folder / "photo.jpg")
    with edit_keys(folder / "keys.json", create=True) as edit:
        key = edit.add("tester")
    files = ("--tls-cert", folder / "fullchain.pem", "--tls-key", folder / "privkey.pem")
    with serving("--keys", folder / "keys.json", "--engine", "fake", *files, key=key) as served:
        yield Encrypted(served, folder)


def test_documented_commands_get_verdicts(encrypted: Encrypted) -> None:
    whole, stream = documented("curl --cacert ")
    answer = encrypted.run(whole)
    assert json.loads(answer.stdout)["results"][0]["verdict"], answer.stderr
    events = encrypted.run(stream)
    assert "event: done" in events.stdout, events.stderr


def test_curl_that_is_not_told_does_not_trust_it(encrypted: Encrypted) -> None:
    whole = documented("curl --cacert ")[0]
    answer = encrypted.run(whole.replace("--cacert fullchain.pem ", ""))
    assert (answer.returncode, answer.stdout) == (NO_TRUST, "")


def test_old_versions_of_tls_and_plain_http_get_nothing(encrypted: Encrypted) -> None:
    whole = documented("curl --cacert ")[0]
    assert encrypted.run(f"{whole} --tls-max 1.1").returncode == NO_HANDSHAKE
    for version in ("1.2", "1.3"):
        answer = encrypted.run(f"{whole} --tlsv{version} --tls-max {version}")
        assert json.loads(answer.stdout)["results"], answer.stderr
    plain = encrypted.run(whole.replace("https:", "http:"))
    assert plain.returncode != 0
    assert plain.stdout == ""
