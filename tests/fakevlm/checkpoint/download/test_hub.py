"""Models of the hub: downloaded, gone on with, taken from the cache, and one line for whatever the hub does instead."""

import logging
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakevlm.checkpoint.download import hub as hub_module
from fakevlm.checkpoint.location import resolve
from fakevlm.errors import UserError
from tests.fakevlm.checkpoint.download.hub_server import (
    COMMIT,
    Fault,
    HubServer,
    Request,
    blob_name,
    closed,
    half,
    headers_only,
    in_circles,
    page,
    redirected,
    reset,
    saying,
    silent,
    status,
)  # fmt: skip

pytestmark = pytest.mark.unit

WEIGHTS = "model.safetensors"
SILENCE_S = 1.5
"""Seconds that a server may be silent in these tests."""
SHORT_S = 0.4
"""Seconds where it is silent whatever happens: nothing that it says is missed."""


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub that this process takes for the hub, with a cache of its own and little patience."""
    with HubServer(Path(shutil.copytree(tiny_model, tmp_path / "served"))) as server:
        set_hub(monkeypatch, server.url, tmp_path)
        yield server


def set_hub(monkeypatch: pytest.MonkeyPatch, url: str, folder: Path) -> None:
    constants = "huggingface_hub.constants."
    monkeypatch.setattr(f"{constants}ENDPOINT", url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )
    monkeypatch.setattr(f"{constants}HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(f"{constants}HF_HUB_ETAG_TIMEOUT", 1)
    monkeypatch.setattr(f"{constants}HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(hub_module, "ANSWER_S", SILENCE_S)
    monkeypatch.setattr(hub_module, "_PAUSES_S", (0.05, 0.1))
    monkeypatch.delenv("HF_TOKEN", raising=False)


def hurry(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have little patience indeed with a hub that says nothing."""
    if fault in (silent, headers_only):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", SHORT_S)
        monkeypatch.setattr(hub_module, "ANSWER_S", SHORT_S)


def fetch(location: str = "owner/tiny") -> Path:
    return resolve(location, storage_options=None, cache_dir=None)


def refusal(location: str = "owner/tiny") -> str:
    """The one line that it ends with, soon."""
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        fetch(location)
    assert time.monotonic() - started < 3 * SILENCE_S + 1
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    assert location.partition("@")[0] in message
    return message


def assert_same_files(folder: Path, model: Path) -> None:
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in model.iterdir()
    }


def test_it_is_downloaded_into_the_hubs_cache_and_asked_for_once(server: HubServer, tmp_path: Path) -> None:
    folder = fetch()
    assert folder == tmp_path / "hub" / "models--owner--tiny" / "snapshots" / COMMIT
    assert_same_files(folder, server.folder)
    server.requests.clear()
    assert fetch() == folder
    assert [line.partition("?")[0] for line in server.requests] == ["GET /api/models/owner/tiny/revision/main"]


def test_the_hubs_own_client_takes_the_snapshot_for_its_own(server: HubServer) -> None:
    from huggingface_hub import snapshot_download

    folder = fetch()
    server.requests.clear()
    assert Path(snapshot_download("owner/tiny", local_files_only=True)) == folder
    assert server.requests == []


def test_what_the_hubs_own_client_has_is_not_downloaded_again(server: HubServer, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--owner--tiny" / "snapshots" / COMMIT
    shutil.copytree(server.folder, snapshot)
    assert fetch() == snapshot
    assert server.got == []


@pytest.mark.parametrize("location", ["owner/tiny@v1", f"owner/tiny@{COMMIT}"])
def test_a_revision(location: str, server: HubServer) -> None:
    assert fetch(location).name == COMMIT


def test_a_mirror_that_lists_names_alone(server: HubServer) -> None:
    def names(request: Request) -> None:
        import json

        listing = server.listing()
        listing["siblings"] = [{"rfilename": entry["rfilename"]} for entry in listing["siblings"]]
        request.answer(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})

    server.faults["api"] = names
    assert_same_files(fetch(), server.folder)


def test_a_cache_without_links(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = fetch()
    assert_same_files(folder, server.folder)
    assert not any(file.is_symlink() for file in folder.iterdir())


ASKING: dict[str, tuple[Fault, list[str]]] = {
    "silent": (silent, ["cannot be reached", "HF_HUB_ETAG_TIMEOUT", "HF_ENDPOINT"]),
    "headers and then nothing": (headers_only, ["cannot be reached", "HF_HUB_ETAG_TIMEOUT"]),
    "reset": (reset, ["cannot be reached", "Connection reset by peer"]),
    "closed": (closed, ["cannot be reached", "disconnected"]),
    "login page": (page, ["a web page, as of a login or a proxy", "log in", "HTTPS_PROXY"]),
    "redirect to a login page": (redirected, ["a web page, as of a login or a proxy"]),
    "redirect in circles": (in_circles, ["redirects"]),
    "plain text": (saying(b"hello"), ["is not the hub", "HF_ENDPOINT"]),
    "nothing": (saying(b""), ["is not the hub"]),
    "no text": (saying(b"\xff\xfe\x00"), ["is not the hub"]),
    "a list": (saying(b"[]"), ["is not the hub"]),
    "null": (saying(b"null"), ["is not the hub"]),
    "a number": (saying(b"1"), ["is not the hub"]),
    "a deep list": (saying(b"[" * 100_000), ["is not the hub"]),
    "another object": (saying(b'{"status": "ok"}'), ["is not the hub"]),
    "no commit": (saying(b'{"id": "a/b", "siblings": []}'), ["is not the hub"]),
    "a commit that is none": (saying(b'{"id": "a/b", "sha": "../..", "siblings": []}'), ["is not the hub"]),
    "no files": (saying(b'{"id": "a/b", "sha": "%s"}' % COMMIT.encode()), ["is not the hub"]),
    "files that are none": (saying(b'{"id": "a/b", "sha": "%s", "siblings": 3}' % COMMIT.encode()), ["is not the hub"]),
    "dates that are none": (saying(b'{"id": "a/b", "lastModified": "soon"}'), ["is not the hub"]),
    "wrong compression": (saying(b"{}", Content_Encoding="gzip"), ["cannot be reached"]),
    "400": (status(400), ["HTTP 400", "HF_ENDPOINT"]),
    "401": (status(401), ["HTTP 401", "does not give it out", "HF_TOKEN"]),
    "403": (status(403), ["HTTP 403", "HF_TOKEN"]),
    "403 gated": (status(403, X_Error_Code="GatedRepo"), ["is gated", "HF_TOKEN"]),
    "404": (status(404), ["neither a folder here nor a model on the hub"]),
    "404 from the hub": (status(404, X_Error_Code="RepoNotFound"), ["neither a folder here nor a model on the hub"]),
    "429": (status(429), ["HTTP 429 too many requests", "try again later", "HF_TOKEN"]),
    "429 for an hour": (status(429, Retry_After="3600"), ["HTTP 429", "try again in 3600 s"]),
    "500": (status(500), ["HTTP 500", "try again later"]),
    "503": (status(503), ["HTTP 503 service unavailable", "try again later"]),
    "a teapot": (status(418), ["HTTP 418"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKING)
def test_a_hub_that_cannot_be_asked(name: str, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.faults["api"], words = ASKING[name]
    hurry(server.faults["api"], monkeypatch)
    message = refusal()
    assert not [word for word in words if word not in message], message
    assert server.url in message
    assert server.got == []


@pytest.mark.parametrize("name", ["silent", "login page", "503", "404", "reset"])
def test_what_was_downloaded_before_serves_and_a_line_says_so(
    name: str, server: HubServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch()
    server.faults["api"] = ASKING[name][0]
    hurry(server.faults["api"], monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert fetch() == folder
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("fakevlm")]
    assert "taking what was downloaded before" in line


def test_a_revision_that_the_hub_lacks(server: HubServer) -> None:
    fetch()
    assert "has no revision v9 on the hub" in refusal("owner/tiny@v9")


FETCHING: dict[str, tuple[Fault, list[str]]] = {
    "silent": (silent, ["nothing comes", "HF_HUB_DOWNLOAD_TIMEOUT"]),
    "headers and then nothing": (headers_only, ["has 1000000 bytes"]),
    "reset": (reset, ["Connection reset by peer"]),
    "login page": (page, ["a web page, as of a login or a proxy"]),
    "redirect to a login page": (redirected, ["a web page, as of a login or a proxy"]),
    "401": (status(401), ["HTTP 401", "HF_TOKEN"]),
    "403 gated": (status(403, X_Error_Code="GatedRepo"), ["is gated", "HF_TOKEN"]),
    "404": (status(404, X_Error_Code="EntryNotFound"), ["HTTP 404"]),
    "429 for an hour": (status(429, Retry_After="3600"), ["try again in 3600 s"]),
    "503": (status(503), ["HTTP 503", "try again later"]),
    "another file": (saying(b"{}" * 50), ["has 100 bytes"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FETCHING)
def test_a_file_that_does_not_come(name: str, server: HubServer) -> None:
    server.faults["config.json"], words = FETCHING[name]
    message = refusal()
    assert not [word for word in [server.url, *words] if word not in message], message
    assert "config.json" in message or "gated" in name


def test_half_a_file_is_gone_on_with(server: HubServer) -> None:
    size = (server.folder / WEIGHTS).stat().st_size
    server.faults[WEIGHTS] = half
    assert "the same command goes on where this one stopped" in refusal()
    server.requests.clear()
    server.faults.clear()
    assert_same_files(fetch(), server.folder)
    assert server.got == [f"{WEIGHTS} from {size // 2}"], "what is there is not asked for again"


def test_a_connection_that_breaks_off_is_made_again(server: HubServer) -> None:
    size = (server.folder / WEIGHTS).stat().st_size

    def once(request: Request) -> None:
        del server.faults[WEIGHTS]
        half(request)

    server.faults[WEIGHTS] = once
    assert_same_files(fetch(), server.folder)
    assert f"{WEIGHTS} from {size // 2}" in server.got


def test_a_server_without_ranges_begins_anew(server: HubServer) -> None:
    server.faults[WEIGHTS] = half
    refusal()

    def whole(request: Request) -> None:
        request.answer(200, (server.folder / WEIGHTS).read_bytes(), {"Content-Type": "application/octet-stream"})

    server.faults[WEIGHTS] = whole
    assert_same_files(fetch(), server.folder)


@pytest.mark.parametrize("file", [WEIGHTS, "config.json"])
def test_wrong_bytes_are_not_taken_for_the_file(file: str, server: HubServer) -> None:
    data = (server.folder / file).read_bytes()
    server.faults[file] = saying(b"x" + data[1:])
    assert "its hash differs" in refusal()
    server.faults.clear()
    assert_same_files(fetch(), server.folder)


@pytest.mark.parametrize("change", [-1000, 1000])
def test_a_wrong_length_is_not_taken_for_the_file(change: int, server: HubServer) -> None:
    size = (server.folder / WEIGHTS).stat().st_size
    server.faults[WEIGHTS] = lambda request: request.send_file(server.folder / WEIGHTS, length=size + change)
    assert f"it has {size + change} bytes, {size} were announced" in refusal()


def test_slow_is_not_silent(server: HubServer) -> None:
    """Pieces that come for longer than the server may be silent."""
    data = (server.folder / "config.json").read_bytes()
    pieces = 12

    def slowly(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        for number in range(pieces):
            at, end = len(data) * number // pieces, len(data) * (number + 1) // pieces
            request.wfile.write(data[at:end])
            server.over.wait(2 * SILENCE_S / pieces)

    server.faults["config.json"] = slowly
    started = time.monotonic()
    assert_same_files(fetch(), server.folder)
    assert time.monotonic() - started > 1.5 * SILENCE_S
    assert server.got.count("config.json") == 1


def test_nobody_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    set_hub(monkeypatch, f"http://user:hush@127.0.0.1:{port}", tmp_path)
    message = refusal()
    assert "Connection refused" in message
    assert f"http://127.0.0.1:{port}" in message
    assert "hush" not in message


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("127.0.0.1:1", "HF_ENDPOINT"),
        ("ftp://127.0.0.1:1", "HF_ENDPOINT"),
        ("http://[::1", "HF_ENDPOINT"),
        ("http://127.0.0.1:notaport", "HF_ENDPOINT"),
        ("http://no-such-host.invalid", "HF_ENDPOINT"),
    ],
)
def test_an_address_that_is_none(url: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_hub(monkeypatch, url, tmp_path)
    assert words in refusal()


def test_tls_where_none_is_spoken(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_hub(monkeypatch, server.url.replace("http:", "https:"), tmp_path)
    assert "SSL" in refusal()


def test_a_token_that_is_none_is_not_shown(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hush ü")
    message = refusal()
    assert "HF_TOKEN" in message
    assert "hush" not in message


def test_a_proxy_that_is_none(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.utils._http import close_session

    close_session()  # the proxy is read where the client is made
    monkeypatch.setenv("ALL_PROXY", "nonsense://proxy")
    assert "HTTPS_PROXY" in refusal()


@pytest.mark.parametrize("name", ["a--b/c", "owner/x..y", f"owner/{'x' * 100}", "owner/.git"])
def test_names_that_the_hub_has_not(name: str, server: HubServer) -> None:
    assert "neither a folder here nor" in refusal(name)


def test_a_disk_that_cannot_be_written(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(UserError, match=r"cannot write to the hub's cache .*HF_HOME"):
        fetch()


def test_a_disk_without_room(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 10**6, 0))
    with pytest.raises(UserError, match="no room on the disk"):
        fetch()
    assert server.got == []


def test_two_processes_download_once(server: HubServer, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fakevlm.checkpoint.location import resolve;"
        "print(resolve('owner/tiny', storage_options=None, cache_dir=None))"
    )
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folders = {process.communicate(timeout=60)[0].strip() for process in started}
    assert len(folders) == 1
    assert_same_files(Path(folders.pop()), server.folder)
    assert sorted(server.got) == sorted(file.name for file in server.folder.iterdir())


def test_hashes_are_those_of_git() -> None:
    assert blob_name(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


# A commit, which means the same everywhere


def listings(server: HubServer) -> int:
    return sum("/api/models/" in request for request in server.requests)


def test_a_commit_that_is_here_is_not_asked_about(server: HubServer, tmp_path: Path) -> None:
    folder = fetch("owner/tiny")
    assert folder.name == COMMIT
    asked = listings(server)
    assert fetch(f"owner/tiny@{COMMIT}") == folder
    assert listings(server) == asked
    (folder / "config.json").unlink()
    assert fetch(f"owner/tiny@{COMMIT}") == folder
    assert (folder / "config.json").exists(), "somebody had taken a file away"
    assert listings(server) == asked + 1


def test_a_commit_that_is_not_here_is_downloaded_by_it(server: HubServer) -> None:
    folder = fetch(f"owner/tiny@{COMMIT}")
    assert folder.name == COMMIT
    assert all(f"revision/{COMMIT}" in request for request in server.requests if "/api/" in request)
    assert fetch(f"owner/tiny@{COMMIT}") == folder
    assert listings(server) == 1


def test_engines_of_a_node_ask_the_hub_once(server: HubServer, tmp_path: Path) -> None:
    """Eight processes that want the same commit at the same time: one listing, each file once."""
    process = multiprocessing.get_context("fork")
    workers = [process.Process(target=fetch, args=(f"owner/tiny@{COMMIT}",), daemon=True) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert listings(server) == 1
    files = [request for request in server.requests if "/resolve/" in request]
    assert len(files) == len(set(files))


def test_a_cache_that_others_have_filled_need_not_be_writable(server: HubServer, tmp_path: Path) -> None:
    folder = fetch("owner/tiny")
    shutil.rmtree(tmp_path / "hub" / ".locks")
    (tmp_path / "hub" / ".locks").write_text("no folder can be made here")
    assert fetch(f"owner/tiny@{COMMIT}") == folder
