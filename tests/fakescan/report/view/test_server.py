"""`fakescan view` over HTTP: only for who knows the address; pieces of files, the images that were judged, labels."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakescan.cli.main import main
from fakescan.report.view.report_files import span
from tests.fakescan.report.conftest import MadeReport

pytestmark = pytest.mark.unit

CLIENT = httpx.Client(timeout=60)


@dataclass(frozen=True)
class Viewing:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    report: MadeReport

    def get(self, path: str = "", **headers: str) -> httpx.Response:
        return CLIENT.get(self.url + path, headers=headers)


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "fakescan.cli", "view", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.fixture(scope="module")
def viewing(made_report: MadeReport) -> Iterator[Viewing]:
    process, url = start(made_report.run.folder.url, "--report", str(made_report.path), "--reviewer", "ann")
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", url), process.communicate()
        yield Viewing(url, process, made_report)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "Traceback" not in out


def test_only_with_the_token_and_by_its_own_name(viewing: Viewing) -> None:
    root, port = viewing.url[: viewing.url.index("/", 8)], viewing.url.split(":")[2].split("/")[0]
    assert viewing.get().status_code == 200
    for path in ("/", "/x/", "/report.json", f"/{'A' * 32}/report.json", f"{viewing.url[len(root) : -2]}/report.json"):
        found = CLIENT.get(root + path)
        assert (found.status_code, "rows" in found.text) == (404, False), path
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", f"[::]:{port}"):
        assert viewing.get("report.json", Host=host).status_code == 421, host
    assert viewing.get("report.json", Host=f"localhost:{port}").status_code == 200
    with socket.create_connection(("127.0.0.1", int(port))):
        pass
    addresses = {address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None)} - {"127.0.0.1", "::1"}
    for address in addresses:
        if not address.startswith("127."):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, int(port)), timeout=5)


@pytest.mark.parametrize(
    "path",
    ["../run/run.json", "..%2frun%2frun.json", "%2e%2e/run/run.json", "data/../../run/run.json", "lease.json", "work/x",
     ".hidden", "data", "data/", "/etc/passwd", "//etc/passwd", "data%00", "out/passwd", "nothing.js"],
)  # fmt: skip
def test_nothing_but_the_report(viewing: Viewing, path: str) -> None:
    (viewing.report.path / ".hidden").write_text("secret")
    (viewing.report.path / "lease.json").write_text("secret")
    if not (viewing.report.path / "out").exists():
        (viewing.report.path / "out").symlink_to("/etc")
    port = int(viewing.url.split(":")[2].split("/")[0])
    token = viewing.url.split("/")[3]
    with socket.create_connection(("127.0.0.1", port)) as connection:  # a client would tidy the path up
        request = f"GET /{token}/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split()[1] in (b"404", b"400"), answer
    assert b"secret" not in answer
    assert b"root:" not in answer


def test_headers(viewing: Viewing) -> None:
    for path in (
        "",
        "report.json",
        "report.html",
        f"{viewing.report.file.data}folders.parquet",
        "nothing",
        "api/labels",
    ):
        headers = viewing.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
    policy = viewing.get("api/labels").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_the_report_says_that_it_is_viewed(viewing: Viewing) -> None:
    found = viewing.get("report.json").json()
    assert found.pop("view") == {"api": "api/", "reviewer": "ann", "can_label": True}
    assert found == {key: value for key, value in viewing.report.file.model_dump(mode="json").items() if key != "view"}


def test_pieces_of_files(viewing: Viewing) -> None:
    name = f"{viewing.report.file.data}{viewing.report.file.rows.files[0].name}"
    data = (viewing.report.path / name).read_bytes()
    whole = viewing.get(name)
    assert (whole.status_code, whole.content, whole.headers["Accept-Ranges"]) == (200, data, "bytes")
    for wanted, piece in (("bytes=0-99", data[:100]), ("bytes=-8", data[-8:]), (f"bytes={len(data) - 5}-", data[-5:]),
                          ("bytes=10-99999999999", data[10:])):  # fmt: skip
        found = viewing.get(name, Range=wanted)
        assert (found.status_code, found.content) == (206, piece)
        first = (
            len(data) - len(piece) if "99" not in wanted and wanted != "bytes=0-3" else found.headers["Content-Range"]
        )
        assert f"/{len(data)}" in found.headers["Content-Range"], first
    assert viewing.get(name, Range=f"bytes={len(data)}-").status_code == 416
    assert viewing.get(name, **{"If-None-Match": whole.headers["ETag"]}).status_code == 304
    stale = viewing.get(name, Range="bytes=0-3", **{"If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, data)
    head = CLIENT.head(viewing.url + name)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(data)), b"")


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("bytes=0-0", (0, 1)), ("bytes=5-", (5, 10)), ("bytes=-3", (7, 10)), ("bytes=-30", (0, 10)),
     ("bytes=0-3,5-6", None), ("items=0-3", None), ("bytes=-", None), ("bytes=4-2", None), ("bytes=0-99", (0, 10))],
)  # fmt: skip
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert span(header, 10) == expected


def test_full_images_are_the_judged_ones(viewing: Viewing) -> None:
    found = viewing.get("api/image/1")
    assert (found.status_code, found.headers["Content-Type"]) == (200, "image/jpeg")
    assert found.content == next(viewing.report.run.images.rglob("0001.jpg")).read_bytes()
    assert "sandbox" in found.headers["Content-Security-Policy"]
    gone, changed, absent = (viewing.get(f"api/image/{row}") for row in (12, 16, 7_000_000))
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_found")
    assert (changed.status_code, changed.json()["error"]["code"]) == (409, "changed")
    assert changed.json()["error"]["message"] == "the image was changed since it was judged"
    assert (absent.status_code, absent.json()["error"]["message"]) == (404, "the run has no such row")
    thumb = viewing.get("api/thumb/2")
    assert (thumb.status_code, thumb.headers["Content-Type"]) == (200, "image/jpeg")
    assert viewing.get("api/image/x").status_code == 404


def post(viewing: Viewing, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CLIENT.post(
        f"{viewing.url}api/labels", content=content, headers={"Content-Type": "application/json", **headers}
    )


def test_labels_are_written_and_taken_back(viewing: Viewing) -> None:
    sha256 = "ab" * 32
    label = {"sha256": sha256, "row_id": 3, "label": "fake", "reviewer": "ann", "seconds": 1.5, "seen_score": False}
    made = post(viewing, label)
    assert (made.status_code, made.json()["label"]["label"]) == (201, "fake")
    assert made.json()["label"]["at"]
    post(viewing, {**label, "label": "real"})
    post(viewing, {**label, "reviewer": "bob", "note": "<b>"})
    found = {one["reviewer"]: one["label"] for one in viewing.get("api/labels").json()["labels"][sha256]}
    assert found == {"ann": "real", "bob": "fake"}
    (file,) = Path(viewing.report.run.folder.path, "labels").glob("*.jsonl")
    assert [json.loads(line)["label"] for line in file.read_text().splitlines()] == ["fake", "real", "fake"]
    assert CLIENT.delete(f"{viewing.url}api/labels/{sha256}?reviewer=ann").status_code == 200
    found = {one["reviewer"]: one["label"] for one in viewing.get("api/labels").json()["labels"][sha256]}
    assert found == {"ann": "fake", "bob": "fake"}
    for reviewer in ("ann", "bob"):
        assert CLIENT.delete(f"{viewing.url}api/labels/{sha256}?reviewer={reviewer}").status_code == 200
    assert CLIENT.delete(f"{viewing.url}api/labels/{sha256}?reviewer=bob").status_code == 404
    assert not file.exists()


def test_a_second_look_stands_beside_the_first(viewing: Viewing) -> None:
    sha256 = "cd" * 32
    label = {"sha256": sha256, "label": "fake", "reviewer": "ann", "second_look": None}
    post(viewing, label)
    assert post(viewing, {**label, "label": "real", "second_look": True}).status_code == 201

    def looks() -> list[tuple[str, bool]]:
        found = viewing.get("api/labels").json()["labels"].get(sha256, [])
        return [(one["label"], bool(one["second_look"])) for one in found]

    assert looks() == [("fake", False), ("real", True)]
    for left in ([("fake", False)], []):
        assert CLIENT.delete(f"{viewing.url}api/labels/{sha256}?reviewer=ann").status_code == 200
        assert looks() == left


def test_wrong_labels_are_refused(viewing: Viewing) -> None:
    good = {"sha256": "ab" * 32, "label": "fake", "reviewer": "ann"}
    for change in ({"sha256": "x"}, {"label": "maybe"}, {"reviewer": ""}, {"extra": 1}, {"seconds": -1}):
        found = post(viewing, {**good, **change})
        assert (found.status_code, next(iter(change)) in found.json()["error"]["message"]) == (400, True), change
    assert post(viewing, b"{").status_code == 400
    assert post(viewing, b"[" * 50_000).status_code == 400
    assert post(viewing, b" " * 70_000).status_code == 413
    assert post(viewing, good, **{"Content-Type": "text/plain"}).status_code == 415
    assert post(viewing, good, Origin="http://evil.example").status_code == 403
    assert post(viewing, good, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert viewing.get("api/labels").json() == {"labels": {}}


def test_no_report_yet(made_report: MadeReport, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["view", made_report.run.folder.url, "--report", str(tmp_path)])
    assert ending.value.code == 2
    assert "make it first: fakescan report" in capfd.readouterr().err


def test_a_port_that_is_taken(made_report: MadeReport, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ending:
            main(["view", made_report.run.folder.url, "--report", str(made_report.path), "--port", str(port)])
    assert ending.value.code == 2
    err = capfd.readouterr().err
    assert f"port: cannot listen on 127.0.0.1:{port} (address already in use)" in err
    assert "Traceback" not in err
