"""What the gate does itself: the page and facts from its memory, a log that floods do not fill, images counted."""

import asyncio
import errno
import json
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Send

from fakescan.serve.config import AccessLog as AccessLogSettings
from fakescan.serve.gate.access_log import AccessLog
from fakescan.serve.gate.bounds.form import read_form
from fakescan.serve.gate.own import answers
from fakescan.serve.gate.request_context import RequestContext
from fakescan.serve.outcome_header import ImageOutcome, Outcomes, outcome_header, read_outcomes
from tests.gated import Keys, Start, from_replica, serves_own, until

pytestmark = pytest.mark.unit

# --- the page and facts -----------------------------------------------------------------------------------------------


def test_the_page_needs_no_replica(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    gated.inner.act = serves_own(404)
    page = gated.ask("/", method="GET")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-cache"
    for path, answer in answers.page_files().items():
        got = gated.ask(path, method="GET")
        assert (got.status, got.body) == (200, answer.body), path
        head = gated.ask(path, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(answer.body))
    assert gated.ask("/page/nothing.js", method="GET").code == "not_found"
    assert gated.ask("/page/../keys.py", method="GET").code in ("not_found", "unauthorized")
    assert gated.ask("/page/index.html", method="GET").code == "not_found"
    refused = gated.ask("/", method="DELETE")
    assert (refused.code, refused.headers["allow"]) == ("method_not_allowed", "GET, HEAD")
    assert not gated.inner.paths


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_take_what_the_document_says_and_no_body(start: Start, path: str) -> None:
    gated = start()
    for method in ("GET", "HEAD"):
        assert gated.ask(path, method=method).status == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        refused = gated.ask(path, method=method)
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD"), method
    assert gated.ask(path, method="GET", content=bytes(4096)).status == 200
    assert gated.ask(path, method="GET", content=bytes(4097)).code == "too_large"


@pytest.mark.parametrize("path", ["/", "/v1/about", "/openapi.json"])
def test_who_has_it_already_gets_304(start: Start, path: str) -> None:
    gated = start()
    etag = gated.ask(path, method="GET").headers["etag"]
    for given in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = gated.ask(path, method="GET", headers={"if-none-match": given})
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag), given
    assert gated.ask(path, method="GET", headers={"if-none-match": '"other"'}).status == 200


def test_facts_are_asked_of_a_replica_once(start: Start, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    gated = start(keys.ring, max_ongoing_requests=1, max_queued_requests=1)
    about = (b"content-type", b"application/json")
    gated.inner.act = from_replica(200, b'{"model": "first"}', (about,))
    for _ in range(20):
        answer = gated.ask("/v1/about", method="GET")
        assert (answer.body, answer.headers["content-type"]) == (b'{"model": "first"}', "application/json")
    assert gated.ask("/v1/models", method="GET", key=keys.both).status == 200
    assert gated.inner.paths == ["/v1/about", "/v1/models"]
    forwarded = dict(gated.inner.headers[0])
    assert forwarded[b"x-fakescan-key"] == b"-"
    assert b"user-agent" not in forwarded, "the answer is everybody's"

    monkeypatch.setattr(answers, "FACTS_S", 0.0)
    monkeypatch.setattr(answers, "_RETRY_S", 0.0)
    gated.inner.act = serves_own(503)
    for _ in range(5):
        assert gated.ask("/v1/about", method="GET").body == b'{"model": "first"}', "the last word stays"
    gated.inner.act = from_replica(200, b'{"model": "second"}', (about,))
    until("it is asked again", lambda: gated.ask("/v1/about", method="GET").body == b'{"model": "second"}')


def test_a_fact_that_nobody_has_asked_for_lately_is_asked_for_first(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = start()
    gated.inner.act = from_replica(200, b'{"model": "first"}')
    assert gated.ask("/v1/about", method="GET").body == b'{"model": "first"}'
    for name in ("FACTS_S", "MAX_AGE_S", "_RETRY_S"):
        monkeypatch.setattr(answers, name, 0.0)
    gated.inner.act = from_replica(200, b'{"model": "second"}')
    assert gated.ask("/v1/about", method="GET").body == b'{"model": "second"}'


def test_before_a_replica_has_answered_there_are_no_facts(start: Start) -> None:
    gated = start()
    gated.inner.act = serves_own(404)
    assert [gated.ask("/v1/about", method="GET").code for _ in range(3)] == ["starting"] * 3
    assert gated.ask("/", method="GET").status == 200


def test_facts_wait_behind_no_verdict(start: Start) -> None:
    """All places are taken."""
    gated = start(max_ongoing_requests=1, max_queued_requests=1)
    for path in ("/v1/about", "/v1/models"):
        assert gated.ask(path, method="GET").status == 200

    async def waits(receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.disconnect"

    gated.inner.act = waits
    for _ in range(2):
        gated.wire().begin("/v1/detect", "content-length: 0")
    until("all is full", lambda: gated.inner.at_once == 2)
    for path in ("/", "/v1/about", "/v1/models", "/metrics", "/healthz"):
        assert gated.ask(path, method="GET").status == 200, path


# --- the log ----------------------------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def context(**values: Any) -> RequestContext:
    context = RequestContext("0123456789abcdef", "/v1/detect", "POST", 0.0)
    for name, value in values.items():
        setattr(context, name, value)
    return context


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.iterdir()) for line in file.read_text().splitlines()]


def test_a_flood_of_refusals_leaves_a_short_log(tmp_path: Path) -> None:
    clock = Clock()
    log = AccessLog(clock=clock)
    log.configure(AccessLogSettings(folder=str(tmp_path)))
    for number in range(20_000):
        clock.now += 0.001
        long = "\u2028" * 5_000
        log.request(context(code="unauthorized", status=401, user_agent=long, path="/" + long), 0.001, None)
        if number % 1_000 == 0:
            log.request(context(key="shop", status=200, passed_at=0.0), 0.1, None)
    clock.now += 30
    log.request(context(code="rate_limited", status=429), 0.001, None)
    log.close()
    written = lines(tmp_path)
    assert sum(line.get("key") == "shop" for line in written) == 20, "what was let in is there"
    refused = sum(line.get("code") == "unauthorized" for line in written)
    left_out = sum(line.get("refusals_left_out", {}).get("unauthorized", 0) for line in written)
    assert refused + left_out == 20_000
    assert refused <= 100 + 5 * 20 + 1
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 512 * 1024


def test_log_files_are_bounded(tmp_path: Path) -> None:
    log = AccessLog()
    log.configure(AccessLogSettings(folder=str(tmp_path), max_bytes=10_000, files=3))
    for _ in range(2_000):
        log.request(context(status=200, passed_at=0.0), 0.001, None)
    log.close()
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 3
    assert max(sizes) <= 10_000


def test_a_log_that_cannot_be_opened_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    log = AccessLog()
    log.configure(AccessLogSettings(folder=str(tmp_path / "file" / "below")))
    log.request(context(status=200), 0.001, None)
    assert "access_log: cannot write in" in caplog.text


def test_lines_that_a_full_disk_loses_are_counted_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_full = True

    def flush(handler: logging.StreamHandler[Any]) -> None:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        handler.stream.flush()

    caplog.set_level(logging.WARNING, "ray.serve.fakescan")
    log = AccessLog()
    log.configure(AccessLogSettings(folder=str(tmp_path)))
    with monkeypatch.context() as patch:
        patch.setattr(RotatingFileHandler, "flush", flush)
        for _ in range(50):
            log.request(context(status=200), 0.001, None)
        assert log.failed == 50
        is_full = False
        log.request(context(status=200), 0.001, None)
    (begun, ended) = caplog.records
    assert (begun.levelname, "No space left on device" in begun.message) == ("ERROR", True)
    assert "50 lines" in ended.message
    log.close()
    assert log.failed == 50
    assert "Logging error" not in capfd.readouterr().err


# --- what a replica tells ---------------------------------------------------------------------------------------------


def test_outcomes_arrive_as_they_were_told() -> None:
    from fakescan.serve.detector import ImageFailure, Result

    results = [
        Result(index=0, num_bytes=1, sha256="ab" * 32, verdict="fake", width=4000, height=3000),
        Result(index=1, num_bytes=1, sha256="cd" * 32, error=ImageFailure(code="truncated", message="m")),
    ]
    ((_, text),) = outcome_header(results, decode_s=0.25, batch=3).items()
    told = read_outcomes(text)
    assert told.images == (
        ImageOutcome("fake", "ab" * 32, 12_000_000),
        ImageOutcome("truncated", "cd" * 32, 0),
    )
    assert (told.decode_s, told.judge_s, told.batch) == (0.25, None, 3)
    assert read_outcomes("nonsense fake=2 :: a:b:c") == Outcomes()


# --- forms ------------------------------------------------------------------------------------------------------------


def multipart(*headers: bytes, content: bytes = b"x") -> bytes:
    parts = b"".join(b"--b\r\n" + header + b"\r\n\r\n" + content + b"\r\n" for header in headers)
    return parts + b"--b--\r\n"


FILE = b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg'


@pytest.mark.parametrize(
    ("body", "files", "parts", "has_stream"),
    [
        (multipart(FILE), 1, 1, False),
        (multipart(FILE, FILE, b'Content-Disposition: form-data; name="stream"'), 2, 3, True),
        (multipart(*[FILE] * 16, content=bytes(300_000)), 16, 16, False),
        (multipart(b"content-disposition: form-data; name=file; FILENAME*=utf-8''a"), 1, 1, False),
        (multipart(b"content-disposition: form-data; name=file; " + b"a" * 9_000 + b"; filename=x"), 1, 1, False),
        (multipart(*[FILE] * 5_000), 49, 49, False),
        (b"nonsense", 0, 0, False),
        (b"--b--\r\n", 0, 0, False),
    ],
    ids=range(8),
)
def test_the_files_of_a_form_are_counted(body: bytes, files: int, parts: int, has_stream: bool) -> None:
    for boundary in (b"b", b'"b"', b"b; charset=utf-8"):
        form = asyncio.run(read_form(b"Multipart/Form-Data; Boundary=" + boundary, body, 48))
        assert form is not None
        assert (form.files, form.parts, form.has_stream) == (files, parts, has_stream)
    assert asyncio.run(read_form(b"image/jpeg", body, 48)) is None
    assert asyncio.run(read_form(b"multipart/form-data", body, 48)) is None


def test_more_files_than_an_image_limit_reach_no_replica(start: Start, keys: Keys) -> None:
    gated = start(keys.ring, max_images=3)
    files = [("file", (f"{number}.jpg", b"x")) for number in range(4)]
    answer = gated.ask(key=keys.both, files=files)
    assert (answer.code, json.loads(answer.body)["detail"]) == (
        "invalid",
        "more than 3 images in one request; send fewer",
    )
    assert gated.ask(key=keys.both, files=files[:3]).status == 200
    assert gated.ask(key=keys.both, files=files[:1], data={f"f{n}": "x" for n in range(60)}).code == "invalid"
    assert len(gated.inner.paths) == 1
