"""Models behind URLs: gone on with where they broke off, and one line for whatever the server does instead."""

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adlfs  # noqa: F401 - importing the clients takes longer than the patience of these tests
import gcsfs  # noqa: F401
import pytest

from fakevlm.checkpoint.download import store_files
from fakevlm.checkpoint.download import url as url_module
from fakevlm.checkpoint.location import resolve
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.fakevlm.checkpoint.download.hub_server import (
    HubServer,
    Request,
    half,
    headers_only,
    page,
    redirected,
    reset,
    saying,
    silent,
    status,
)  # fmt: skip
from tests.silent_server import SilentServer

pytestmark = pytest.mark.unit

WEIGHTS = "model.safetensors"
SILENCE_S = 1.5
SHORT_S = 0.4
"""Seconds where the server is silent whatever happens: nothing that it says is missed."""


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    set_patience(monkeypatch, SILENCE_S)


def set_patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    for module in (url_module, store_files):
        monkeypatch.setattr(module, "ANSWER_S", seconds)


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path) -> Iterator[HubServer]:
    """A web server that lists a folder with a model, as Apache does."""
    with HubServer(Path(shutil.copytree(tiny_model, tmp_path / "served"))) as server:
        links = "".join(f'<li><a href="{file.name}">{file.name}</a></li>' for file in server.folder.iterdir())
        listing = f"<html><title>Index of /model</title><ul>{links}</ul></html>".encode()
        server.faults["model"] = server.faults[""] = saying(listing, Content_Type="text/html")
        yield server


def fetch(url: str, cache: Path, **options: Any) -> Path:
    return resolve(url, storage_options=options, cache_dir=cache)


def refusal(url: str, cache: Path, **options: Any) -> str:
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        fetch(url, cache, **options)
    assert time.monotonic() - started < 2 * SILENCE_S + 2
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def assert_same_files(folder: Path, model: Path) -> None:
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in model.iterdir()
    }


def test_a_folder_on_a_web_server(server: HubServer, tmp_path: Path) -> None:
    folder = fetch(f"{server.url}/model/", tmp_path / "cache")
    assert_same_files(folder, server.folder)
    server.requests.clear()
    assert fetch(f"{server.url}/model/", tmp_path / "cache") == folder
    assert not [line for line in server.requests if "safetensors" in line]


def test_half_a_file_is_gone_on_with(server: HubServer, tmp_path: Path) -> None:
    size = (server.folder / WEIGHTS).stat().st_size
    server.faults[WEIGHTS] = half
    message = refusal(f"{server.url}/model/", tmp_path / "cache")
    assert f"{WEIGHTS} cannot be downloaded" in message
    assert "the same command goes on where this one stopped" in message
    (part,) = (tmp_path / "cache").rglob("*.part")
    kept = part.stat().st_size
    assert 0 < kept <= size // 2
    server.requests.clear()
    del server.faults[WEIGHTS]
    assert_same_files(fetch(f"{server.url}/model/", tmp_path / "cache"), server.folder)
    spans = [line for line in server.requests if line.startswith("GET") and "bytes" in line]
    assert spans == [f"GET /model/{WEIGHTS} bytes={kept}-"]


def test_half_of_another_version_is_not_gone_on_with(server: HubServer, tmp_path: Path) -> None:
    server.faults[WEIGHTS] = half
    refusal(f"{server.url}/model/", tmp_path / "cache")
    del server.faults[WEIGHTS]
    data = bytearray((server.folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (server.folder / WEIGHTS).write_bytes(data)
    assert_same_files(fetch(f"{server.url}/model/", tmp_path / "cache"), server.folder)


def test_a_server_that_answers_no_head(server: HubServer, tmp_path: Path) -> None:
    def no_head(request: Request) -> None:
        if request.command == "HEAD":
            request.answer(405, b"")
        else:
            request.serve()

    server.faults["file"] = no_head
    assert_same_files(fetch(f"{server.url}/model/", tmp_path / "cache"), server.folder)


FAULTS = {
    "silent": (silent, "no answer within"),
    "headers and then nothing": (headers_only, "no answer within"),
    "reset": (reset, "cannot be read"),
    "login page": (page, "lacks config.json"),
    "redirect to a login page": (redirected, "lacks config.json"),
    "401": (status(401), "HTTP 401"),
    "403": (status(403), "HTTP 403"),
    "404": (status(404), "does not exist"),
    "503": (status(503), "HTTP 503"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_web_server_that_does_not_list(
    name: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, words = FAULTS[name]
    if fault in (silent, headers_only):
        set_patience(monkeypatch, SHORT_S)
    server.faults["model"] = server.faults[""] = fault
    url = f"{server.url}/model/?token=hush"
    message = refusal(url, tmp_path / "cache")
    assert f"model {server.url}/model/" in message
    assert words in message
    assert "hush" not in message


@pytest.mark.parametrize(
    ("fault", "words"),
    [(silent, "nothing came"), (page, "a web page"), (status(403), "HTTP 403"), (status(503), "HTTP 503")],
)
def test_a_file_that_does_not_come(fault: Any, words: str, server: HubServer, tmp_path: Path) -> None:
    def unless_head(request: Request) -> None:
        if request.command == "HEAD":
            request.serve()
        else:
            fault(request)

    server.faults[WEIGHTS] = unless_head
    message = refusal(f"{server.url}/model/", tmp_path / "cache")
    assert f"{WEIGHTS} cannot be downloaded" in message
    assert words in message


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://b/model", {"endpoint_url": "http://ADDRESS", "key": "k", "secret": "s"}),
        ("gs://b/model", {"endpoint_url": "http://ADDRESS", "token": "anon"}),
        ("az://b/model", {"connection_string": "AccountName=a;AccountKey=YWJj;BlobEndpoint=http://ADDRESS/a"}),
        ("ftp://ADDRESS/model", {}),
        ("http://ADDRESS/model", {}),
    ],
)
def test_a_silent_store(url: str, options: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with SilentServer() as server:
        filled = {name: value.replace("ADDRESS", server.address) for name, value in options.items()}
        assert "no answer within" in refusal(url.replace("ADDRESS", server.address), tmp_path / "cache", **filled)
        assert server.connections
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("url", ["ftp://ADDRESS/model", "http://ADDRESS/model", "ftp:///model", "az://b/model"])
def test_nobody_there(url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    assert "cannot be read" in refusal(url.replace("ADDRESS", address), tmp_path / "cache")
    assert capfd.readouterr().err == ""


def test_from_a_bucket_in_blocks(
    tiny_model: Path, s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_files, "_FIRST", 2**16)
    url = s3_bucket.upload(tiny_model, "models/tiny")
    folder = fetch(url, tmp_path / "cache", **s3_bucket.store.fsspec_options(url))
    assert_same_files(folder, tiny_model)
