"""The CPU image's command line: built from its Dockerfile, and run as a user without root, with nothing to write to but
/tmp, the cache and a working folder; an image that was never near a registry (image_build.py)."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest

from fakescan.run.folder import RunFolder
from tests.conftest import Bucket
from tests.drills.cluster_files.image_build import Builder, command_line, missing_tools
from tests.scan_process import read_rows
from tests.serve_process import PAIRS, free_port

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(missing_tools()), reason=missing_tools()),
]


class Image(NamedTuple):
    """An image's file system, and the folders that a container of it may write to."""

    root: Path
    cache: Path
    work: Path

    def command(self, *command: object, user: str = "1000:1000", **variables: str) -> list[str]:
        return command_line(self.root, self.cache, self.work, "cpu", *command, user=user, **variables)

    def run(self, *command: object, user: str = "1000:1000", **variables: str) -> str:
        """What a command prints; it must succeed, and say nothing of a traceback."""
        done = subprocess.run(
            self.command(*command, user=user, **variables), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    kept = os.environ.get("FAKESCAN_IMAGES")
    builder = Builder(Path(kept) if kept else tmp_path_factory.mktemp("builder"))
    builder.make_base()
    with builder.root_of(builder.build("cpu")) as root:
        yield root


@pytest.fixture
def image(root: Path, tmp_path: Path) -> Image:
    """Folders as Kubernetes lends them: the group may write (`fsGroup`)."""
    for name in ("cache", "work"):
        folder = tmp_path / name
        folder.mkdir()
        folder.chmod(0o2777)
    return Image(root, tmp_path / "cache", tmp_path / "work")


def test_the_user_has_no_root_and_the_root_and_the_home_are_read_only(image: Image) -> None:
    script = "id -u; id -g; touch ~/a /opt/a /usr/a 2>&1 | grep -c 'Read-only'; touch /tmp/a /work/a && echo written"
    assert image.run("bash", "-c", script).split() == ["1000", "1000", "3", "written"]
    assert "ray, version 2.60.0" in image.run("ray", "--version")
    assert image.run("bash", "-c", "command -v ray wget bash gcc g++ tini | wc -l").strip() == "6"
    assert image.run("bash", "-c", "ls -A /source /wheels /tests /work/tests 2>/dev/null; echo").strip() == ""


@pytest.mark.parametrize("user", ["1000:1000", "1234567890:0"], ids=["our user", "another of group 0"])
def test_it_scans_a_bucket(image: Image, s3_bucket: Bucket, user: str) -> None:
    place = s3_bucket
    for path in PAIRS[:4]:
        place.put(f"in/{path.name}", path.read_bytes())
    keys = {name: secret.get_secret_value() for name, secret in place.store.options.items()}
    out = image.run(
        "fakescan", "scan", f"{place.url}/in", "--input-endpoint", place.store.endpoint_url,
        "--output", f"{place.url}/out", "--output-endpoint", place.store.endpoint_url, user=user,
        AWS_ACCESS_KEY_ID=keys["key"], AWS_SECRET_ACCESS_KEY=keys["secret"], AWS_REGION="us-east-1",
    )  # fmt: skip
    assert "rows: 4" in out
    rows = read_rows(RunFolder(f"{place.url}/out", place.store))
    assert [row["error_code"] for row in rows] == [None] * 4
    assert all(row["verdict"] for row in rows)


def test_it_serves(image: Image) -> None:
    image.run("bash", "-c", "umask 077; fakescan keys add tester --file keys.json > key")
    key = (image.work / "key").read_text().split()[-1]
    port = free_port()
    command = image.command("fakescan", "serve", "--keys", "keys.json", "--port", port)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = []
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if "serving" in line:
                    break
            else:
                pytest.fail("".join(said))
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"x-api-key": key}, timeout=120) as client:
                answer = client.post("/v1/detect", files={"file": PAIRS[0].read_bytes()})
            assert answer.status_code == 200, answer.text
            assert answer.json()["results"][0]["error"] is None, json.dumps(answer.json())
        finally:
            # The command in the container, by its own first process: `unshare` heeds no signal but SIGKILL.
            for child in psutil.Process(process.pid).children():
                child.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()


def test_torch_can_compile(image: Image) -> None:
    """What torch.compile does on a node: C++ against Python's and torch's headers."""
    script = "import torch; print(torch.compile(lambda x: (x.sin() + 1).sum())(torch.zeros(8)).item())"
    assert image.run("python", "-c", script).strip() == "8.0"
    assert any((image.cache / "inductor").iterdir())
