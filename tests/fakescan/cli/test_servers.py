"""The command line and servers that do not answer: one line within half a minute, and no traceback."""

import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakevlm.checkpoint.download.hub_server import HubServer, Request
from tests.silent_server import SilentServer

pytestmark = pytest.mark.unit

SCRIPT = str(Path(sys.executable).with_name("fakescan"))
LIMIT_S = 30.0
WEIGHTS = "model.safetensors"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(Path(__file__).parents[3] / "samples" / "images" / "cat.webp", folder)
    return folder


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with SilentServer() as server:
        yield server


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Caches of its own, and none of the user's credentials or proxies."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "AWS_", "AZURE_"))}
    return {**mine, "HF_HOME": str(folder / "home"), "FAKEVLM_CACHE": str(folder / "cache"), **more}


def run(*arguments: object, env: dict[str, str]) -> tuple[int, str, float]:
    """Exit status, stderr, and seconds."""
    started = time.monotonic()
    done = subprocess.run([SCRIPT, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr, time.monotonic() - started


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("az://container/prefix", "account_name and account_key"),
        ("ftp://127.0.0.1:9/images", "ftp:// is not supported"),
        ("sftp://127.0.0.1/images", "paramiko"),
        ("s3://bucket/prefix", "no credentials found"),
    ],
)
def test_what_is_not_set_is_said_at_once(source: str, words: str, tmp_path: Path) -> None:
    env = environment(tmp_path, AWS_EC2_METADATA_DISABLED="true", HOME=str(tmp_path))
    for command in (["scan", source, "-o", tmp_path / "out"], ["index", source, "-o", tmp_path / "out"]):
        status, said, seconds = run(*command, env=env)
        assert (status, len(said.splitlines())) == (2, 1), said
        assert words in said
        assert seconds < LIMIT_S


@pytest.fixture
def hub(tiny_model: Path, tmp_path: Path) -> Iterator[HubServer]:
    """A hub that sends the weights slowly: a sixteenth of them every quarter of a second."""

    def slowly(request: Request) -> None:
        data = (server.folder / WEIGHTS).read_bytes()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        step = len(data) // 16 + 1
        for at in range(0, len(data), step):
            request.wfile.write(data[at : at + step])
            server.over.wait(0.25)

    with HubServer(Path(shutil.copytree(tiny_model, tmp_path / "served"))) as server:
        server.faults[WEIGHTS] = slowly
        yield server


# No source is there: what a scan says after it has opened its model is not of interest here.
OPEN = "from fakescan.engine.model import open_model; from fakescan.storage.store import Store; "


def test_a_download_is_seen_where_a_person_has_started_it(hub: HubServer, tmp_path: Path) -> None:
    code = f"{OPEN} print(open_model('owner/tiny', Store(), show_progress=True).path)"
    env = environment(tmp_path, HF_ENDPOINT=hub.url, COLUMNS="120", TERM="xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        started = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while piece := screen.read(2**16):
                shown += piece
        except OSError:  # how a terminal says that nobody is left on the other side
            pass
        assert started.wait(60) == 0, shown
    assert "downloading owner/tiny" in shown.decode()
    assert "MB" in shown.decode()
    for word in ("Fetching", "Reconstruct", "it/s"):  # the hub's own bars
        assert word not in shown.decode()


def test_a_download_is_a_line_elsewhere_and_nothing_in_workers(hub: HubServer, tmp_path: Path) -> None:
    for show, lines in ((True, 1), (False, 0)):
        code = f"{OPEN} print(open_model('owner/tiny', Store(), show_progress={show}).path)"
        env = environment(tmp_path / str(show), HF_ENDPOINT=hub.url)
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert len(done.stderr.splitlines()) == lines, done.stderr
        assert done.stderr.startswith("downloading owner/tiny  " if show else "")
