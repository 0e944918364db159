"""The gate on a server of its own: what it refuses, what it passes on, and what it says in Serve's place."""

import json
import logging
import time
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest
from starlette.types import Receive, Send

from fakescan.serve.config import Limits
from fakescan.serve.gate import forwarder, uvicorn_protocol
from fakescan.serve.gate.own import readiness
from fakescan.serve.keys import KeyFile, KeyRing
from tests.gated import (
    TOKEN,
    Act,
    Held,
    Keys,
    Start,
    _send,
    breaks,
    form,
    from_replica,
    hangs,
    log_lines,
    nothing,
    outcomes,
    serves_own,
    until,
    waits_for_leaving,
)

pytestmark = pytest.mark.unit


# --- who may ask ------------------------------------------------------------------------------------------------------


def test_without_a_key_only_public_paths_open(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    for path in ("/", "/page/page.css", "/healthz", "/readyz", "/v1/about", "/openapi.json"):
        assert gated.ask(path, method="GET").status == 200, path
    passed = len(gated.inner.paths)
    for path in (
        "/v1/detect",
        "/%76%31/detect",
        "/v1/models",
        "/v1/scans",
        "/metrics",
        "/page",
        "/nothing",
        "/V1/about",
    ):
        answer = gated.ask(path)
        assert (answer.status, answer.code) == (401, "unauthorized"), path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(gated.inner.paths) == passed, "nothing of it came through"
    assert not {"/", "/page/page.css"} & set(gated.inner.paths), "the gate has them itself"


def test_a_key_is_taken_from_either_header_and_only_its_name_goes_on(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    for header in (
        {"authorization": f"Bearer {keys.both}"},
        {"authorization": f"bearer  {keys.both}"},
        {"x-api-key": keys.both},
    ):
        assert gated.ask(headers=header).status == 200, header
        forwarded = dict(gated.inner.headers[-1])
        assert forwarded[b"x-fakescan-key"] == b"both"
        assert keys.both.encode() not in b"".join(forwarded.values())


def test_an_answer_does_not_tell_whether_a_key_exists(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    there, secret = keys.both[4:12], "A" * 43
    answers = []
    for wrong in (
        f"fsk_{there}_{secret}",
        f"fsk_00000000_{secret}",
        keys.off,
        keys.both[:-1],
        "x",
        "k" * 5_000,
        f"{keys.both}x",
    ):
        for header in ({"authorization": f"Bearer {wrong}"}, {"x-api-key": wrong}):
            answer = gated.ask(headers={**header, "x-request-id": "same"})
            assert (answer.status, answer.code) == (401, "unauthorized")
            answers.append((answer.body, {name: value for name, value in answer.headers.items() if name != "date"}))
    assert all(answer == answers[0] for answer in answers)
    assert not gated.inner.paths


@pytest.mark.parametrize("header", [b"Basic abc", b"Bearer", b"\xff\xfe", b"Bearer \xff\xfe", b""])
def test_odd_authorizations_are_refused(start: Start, keys: Keys, header: bytes) -> None:
    assert start(keys.ring).ask(headers={b"authorization": header}).code == "unauthorized"


def test_a_key_opens_what_its_scopes_say(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    for key, path, status in (
        (keys.judge, "/v1/detect", 200),
        (keys.judge, "/v1/models", 200),
        (keys.judge, "/v1/models/builtin-small", 200),
        (keys.judge, "/v1/scans", 403),
        (keys.judge, "/v1/scans/scan-1/stop", 403),
        (keys.judge, "/v1/%73cans", 403),
        (keys.both, "/metrics", 200),
        (keys.judge, "/metrics", 403),
        (keys.scanner, "/metrics", 403),
        (keys.scanner, "/v1/scans", 200),
        (keys.scanner, "/v1/scans/scan-1", 200),
        (keys.scanner, "/v1/detect", 403),
        (keys.scanner, "/v1/chat/completions", 403),
        (keys.both, "/v1/scans", 200),
        (keys.both, "/v1/detect", 200),
    ):
        method = "GET" if path.startswith(("/v1/models", "/metrics")) else "POST"
        answer = gated.ask(path, key=key, method=method)
        assert answer.status == status, (path, answer)
        assert status == 200 or answer.code == "forbidden"


def test_without_auth_everybody_may(start: Start) -> None:
    gated = start()
    assert gated.ask().status == 200
    assert gated.ask("/v1/scans", key="nonsense").status == 200
    assert dict(gated.inner.headers[-1])[b"x-fakescan-key"] == b"-"


def test_changed_keys_and_limits_hold_from_the_next_request_on(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    assert gated.ask(key=keys.both, content=b"x" * 2_000).status == 200
    gated.control.limits = Limits(max_body_bytes=1024)
    assert gated.ask(key=keys.both, content=b"x" * 2_000).code == "too_large"
    gated.control.ring = KeyRing(KeyFile())
    assert gated.ask(key=keys.both).code == "unauthorized"


# --- how much ---------------------------------------------------------------------------------------------------------


def test_a_key_that_asks_too_often_is_told_when_to_come_again(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    assert [
        gated.ask(path, key=keys.judge).status for path in ("/v1/detect", "/v1/chat/completions", "/v1/detect")
    ] == [200] * 3
    answer = gated.ask(key=keys.judge, content=b"x" * 100_000)
    assert (answer.status, answer.code) == (429, "rate_limited")
    assert 50 < int(answer.headers["retry-after"]) <= 60, "one a minute"
    assert b"judge" in answer.body
    assert len(gated.inner.paths) == 3
    assert gated.ask(key=keys.both).status == 200, "another key has its own limit"
    assert gated.ask("/v1/models", method="GET", key=keys.judge).status == 200, "only images count"


def test_every_image_of_a_request_counts(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    gated.inner.act = from_replica(headers=(outcomes(("fake", 9), ("fake", 9), ("truncated", 0)),))
    answer = gated.ask(key=keys.judge, **form(3))
    assert answer.status == 200
    assert "x-fakescan-outcomes" not in answer.headers
    assert gated.ask(key=keys.judge).code == "rate_limited"
    assert gated.metric('fakescan_serve_images_total{outcome="fake"}', keys.both) == 2
    assert gated.metric('fakescan_serve_images_total{outcome="truncated"}', keys.both) == 1
    assert gated.metric('fakescan_serve_key_images_total{key="judge"}', keys.both) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_images_are_paid_for_before_a_replica_sees_them(start: Start, keys: Keys, stream: bool) -> None:
    """However they end: requests at once could otherwise bring many times what the key may send."""
    gated = start(keys.ring)
    gated.inner.act = held = Held()
    wires = [gated.wire() for _ in range(4)]
    request = httpx.Request("POST", "http://gate/v1/detect", **form(16, **({"stream": "true"} if stream else {})))
    body = request.read()
    for wire in wires:
        content = f"content-type: {request.headers['content-type']}"
        wire.begin("/v1/detect", f"x-api-key: {keys.many}", content, f"content-length: {len(body)}")
        wire.send(body)
    until("two are in, with 32 of 40 images", lambda: gated.inner.at_once == 2)
    refused = [wire.answer().code for wire in wires if not wire.is_silent(0.3)]
    assert refused == ["rate_limited"] * 2
    assert gated.inner.at_once == 2
    held.release()
    gated.wait_until_idle(keys.both)


def test_large_images_count_as_several(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    gated.inner.act = from_replica(headers=(outcomes(("real", 49_000_000)),))
    assert gated.ask(key=keys.many).status == 200
    small = from_replica(headers=(outcomes(("real", 12_192_768)),))
    gated.inner.act = small
    answered = 1
    while gated.ask(key=keys.many).status == 200:
        answered += 1
    assert answered == 40 - 3, "49 megapixels are four images, and those of a telephone one"


def test_what_could_not_be_decoded_counts_for_what_it_cost(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    work = (b"x-fakescan-work", b"49000000 0 300000000")
    gated.inner.act = from_replica(headers=(outcomes(("truncated", 0), ("fake", 9), ("fake", 9)), work))
    answer = gated.ask(key=keys.many, **form(3))
    assert answer.status == 200
    assert "x-fakescan-work" not in answer.headers
    gated.inner.act = from_replica(headers=(outcomes(("real", 9)),))
    answered = 0
    while gated.ask(key=keys.many).status == 200:
        answered += 1
    assert answered == 40 - 4 - 1 - 24


def test_who_leaves_pays_for_the_largest_images(start: Start, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody learns how large they were, and they may have been decoded all the same."""
    gated = start(keys.ring)
    gated.inner.act = hangs
    wire = gated.wire()
    wire.begin("/v1/detect", f"x-api-key: {keys.many}", "content-length: 3")
    wire.send(b"abc")
    until("it is in", lambda: gated.inner.at_once == 1)
    gated.inner.act = waits_for_leaving
    wire.close()
    wire = gated.wire()
    wire.begin("/v1/detect", f"x-api-key: {keys.many}", "content-length: 3")
    wire.send(b"abc")
    until("the other is in", lambda: gated.inner.at_once == 2)
    wire.close()
    until("it is given up", lambda: gated.inner.at_once == 1)
    gated.inner.act = from_replica()
    answered = 0
    while gated.ask(key=keys.many).status == 200:
        answered += 1
    assert answered == 40 - 4 - 1


def test_what_is_told_at_the_end_of_a_stream_counts(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)

    async def streams(receive: Receive, send: Send) -> None:
        kept = [(b"content-type", b"text/event-stream"), (b"x-fakescan-from-replica", b"1")]
        await _send(send, 200, b"event: a\n\n", kept, more=True)
        told = outcomes(("fake", 30_000_000))[1].decode() + " decode_s=0.25 batch=7"
        await send({"type": "http.response.body", "body": b"event: done\n\n", "fakescan.outcomes": told})

    gated.inner.act = streams
    assert gated.ask(key=keys.judge).body == b"event: a\n\nevent: done\n\n"
    assert gated.metric('fakescan_serve_images_total{outcome="fake"}', keys.both) == 1
    assert gated.metric("fakescan_serve_decode_seconds_sum", keys.both) == 0.25
    assert gated.metric("fakescan_serve_batch_images_sum", keys.both) == 7
    gated.inner.act = from_replica()
    assert gated.ask(key=keys.judge).code == "rate_limited", "three of three"


def test_a_replicas_refusal_is_counted_by_its_code(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    gated.inner.act = from_replica(415, b"{}", ((b"x-fakescan-code", b"not_an_image"),))
    answer = gated.ask(key=keys.both)
    assert "x-fakescan-code" not in answer.headers
    assert gated.metric('fakescan_serve_refused_total{code="not_an_image"}', keys.both) == 1


def test_what_a_replica_does_not_judge_costs_no_more_than_was_paid(start: Start, keys: Keys) -> None:
    """Also where Serve's proxy hears that the client has all, which it takes for one that left."""

    async def refuses(receive: Receive, send: Send) -> None:
        await from_replica(422)(receive, send)
        assert (await receive())["type"] == "http.disconnect"

    gated = start(keys.ring)
    gated.inner.act = refuses
    statuses = [gated.ask("/v1/chat/completions", key=keys.judge).status for _ in range(4)]
    assert statuses == [422, 422, 422, 429]


def test_of_a_request_that_was_too_slow_the_unknown_images_cost_most(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    gated.inner.act = from_replica(503, b"{}", ((b"x-fakescan-code", b"timeout"), outcomes(("fake", 9), ("fake", 9))))
    assert gated.ask(key=keys.many, **form(4)).status == 503
    gated.inner.act = from_replica()
    answered = 0
    while gated.ask(key=keys.many).status == 200:
        answered += 1
    assert answered == 40 - 2 - 2 * 4


def test_requests_that_are_no_images_have_a_limit_too(start: Start, keys: Keys) -> None:
    gated = start(keys.ring, requests_per_minute=20)
    codes = [gated.ask("/v1/scans/scan-1", method="GET", key=keys.both).code for _ in range(6)]
    assert codes == ["", "", "", "", "", "rate_limited"]
    assert gated.ask(key=keys.both).status == 200
    assert gated.ask("/v1/scans/scan-1", method="GET", key=keys.scanner).status == 200


def test_who_has_no_key_may_not_ask_forever(start: Start, keys: Keys) -> None:
    """Requests in one packet cost the client nothing and the server a millisecond each."""
    gated = start(keys.ring, anonymous_per_minute=80)
    codes = [gated.ask("/v1/detect", key="nonsense").code for _ in range(10)]
    codes += [gated.ask("/", method="GET").code for _ in range(10)]
    assert codes == ["unauthorized"] * 10 + [""] * 10

    def is_enough() -> bool:
        answer = gated.ask("/v1/about", method="GET")
        return answer.code == "rate_limited" and answer.headers["connection"] == "close"

    until("it is enough", is_enough)
    assert gated.ask(key=keys.both).status == 200, "a key is as good as before"
    assert gated.ask("/readyz", method="GET").status == 200, "a balancer may come from the same address"
    assert gated.ask("/healthz", method="GET").status == 200


def test_more_requests_than_places_are_refused_at_once(start: Start) -> None:
    gated = start(max_ongoing_requests=1, max_queued_requests=1)
    gated.inner.act = held = Held()
    wires = [gated.wire() for _ in range(2)]
    for wire in wires:
        wire.begin("/v1/detect", "content-length: 1")
        wire.send(b"x")
    until("both are in", lambda: gated.inner.at_once == 2)
    started = time.monotonic()
    assert gated.ask().code == "overloaded"
    assert time.monotonic() - started < 1
    assert gated.ask("/healthz", method="GET").status == 200
    assert gated.metric("fakescan_serve_ongoing_requests") == 2
    held.release()
    assert [wire.answer().status for wire in wires] == [200, 200]
    assert gated.ask().status == 200
    gated.wait_until_idle()


def test_when_all_places_are_taken_no_body_is_read(start: Start) -> None:
    """Neither is one let in that began to arrive when there were places."""
    gated = start(max_ongoing_requests=1, max_queued_requests=1)
    early, late, *others = (gated.wire() for _ in range(4))
    early.begin("/v1/detect", "content-length: 10")
    early.send(b"half ")
    until("it is under way", lambda: gated.buffered == 5)
    gated.inner.act = held = Held()
    for wire in others:
        wire.begin("/v1/detect", "content-length: 0")
    until("the others are in", lambda: gated.inner.at_once == 2)
    late.begin("/v1/detect", "content-length: 10")
    assert late.answer().code == "overloaded"
    early.send(b"again")
    assert early.answer().code == "overloaded"
    held.release()
    assert [wire.answer().status for wire in others] == [200, 200]
    gated.wait_until_idle()


def test_a_slow_upload_holds_no_place(start: Start) -> None:
    gated = start(max_ongoing_requests=1, max_queued_requests=1)
    slow = [gated.wire() for _ in range(5)]
    for wire in slow:
        wire.begin("/v1/detect", "content-length: 1000")
        wire.send(b"half")
    until("all five are under way", lambda: gated.buffered == 20)
    assert gated.ask().status == 200
    slow[0].send(b"x" * 996)
    assert slow[0].answer().status == 200
    assert gated.inner.bodies[-1] == b"half" + b"x" * 996


def test_bodies_fill_no_more_than_the_memory_set_aside(start: Start) -> None:
    gated = start(max_body_bytes=3_000, max_buffered_bytes=6_000)
    first, second = gated.wire(), gated.wire()
    for wire in (first, second):
        wire.begin("/v1/detect", "content-length: 3000")
        wire.send(b"x" * 2_300)
    until("both are nearly there", lambda: gated.buffered == 4_600)
    assert gated.ask(content=b"x" * 200).code == "overloaded", "three quarters for one address"
    assert gated.ask("/v1/models", method="GET").status == 200, "what has no body needs no room"
    first.close()
    until("its room is free", lambda: gated.buffered == 2_300)
    assert gated.ask(content=b"x" * 2_000).status == 200
    second.send(b"x" * 700)
    assert second.answer().status == 200
    gated.wait_until_idle()


def test_the_bodies_of_a_key_leave_room_for_others(start: Start, keys: Keys) -> None:
    gated = start(keys.ring, max_body_bytes=100_000, max_buffered_bytes=400_000)
    greedy = [gated.wire() for _ in range(6)]
    for wire in greedy:
        wire.begin("/v1/detect", f"x-api-key: {keys.many}", "content-length: 100000")
        wire.send(bytes(60_000))
    until("half of all is its own", lambda: gated.metric("fakescan_serve_buffered_bytes", keys.both) == 180_000)
    assert [wire.answer().code for wire in greedy if not wire.is_silent(0.2)] == ["overloaded"] * 3
    assert gated.ask(key=keys.both, content=bytes(90_000)).status == 200
    for wire in greedy:
        wire.close()
    gated.wait_until_idle(keys.both)


def test_the_requests_of_a_key_leave_places_for_others(start: Start, keys: Keys) -> None:
    gated = start(keys.ring, max_ongoing_requests=8, max_queued_requests=1)
    gated.inner.act = held = Held()
    greedy = [gated.wire() for _ in range(8)]
    for wire in greedy:
        wire.begin("/v1/detect", f"x-api-key: {keys.many}", "content-length: 0")
    until("two thirds are its own", lambda: gated.inner.at_once == 6)
    refused = [wire for wire in greedy if not wire.is_silent(0.1)]
    assert [wire.answer().code for wire in refused] == ["overloaded"] * 2
    gated.inner.act = from_replica()
    assert gated.ask(key=keys.both).status == 200
    held.release()
    gated.wait_until_idle(keys.both)


def test_requests_about_scans_take_no_place_of_a_verdict(start: Start, keys: Keys) -> None:
    """They wait for a job server, and for a store."""
    gated = start(keys.ring, max_ongoing_requests=2, max_queued_requests=2)
    gated.inner.act = held = Held()
    waiting = [gated.wire() for _ in range(14)]
    for wire in waiting:
        wire.begin("/v1/scans", f"x-api-key: {keys.scanner}", method="GET")
    until("two thirds of sixteen are in", lambda: gated.inner.at_once == 11)
    assert [wire.answer().code for wire in waiting if not wire.is_silent(0.1)] == ["overloaded"] * 3
    gated.inner.act = from_replica()
    assert gated.ask(key=keys.both).status == 200
    held.release()
    gated.wait_until_idle(keys.both)


@pytest.mark.parametrize(
    ("path", "method"), [("/", "GET"), ("/v1/about", "GET"), ("/v1/models", "GET"), ("/nothing", "POST"), ("/", "POST")]
)
@pytest.mark.parametrize("framing", ["content-length: 60000000", "transfer-encoding: chunked"])
def test_a_body_where_none_is_wanted_is_not_read(
    start: Start, keys: Keys, path: str, method: str, framing: str
) -> None:
    """Four of them held all the memory that there is for bodies, and nobody needed a key."""
    gated = start(keys.ring)
    for key in (None, keys.both):
        wire = gated.wire()
        wire.begin(path, framing, *([f"x-api-key: {key}"] if key else []), method=method)
        wire.send(b"5\r\nhello\r\n" if "chunked" in framing else b"hello")
        assert wire.answer().status in (401, 404, 405, 413)
        assert gated.metric("fakescan_serve_buffered_bytes", keys.both) == 0
    assert gated.metric("fakescan_serve_body_bytes_total", keys.both) == 0


@pytest.mark.parametrize("framing", ["content-length: 3000000", "transfer-encoding: chunked"])
def test_a_client_that_is_refused_at_once_reads_why_when_it_has_sent_all(
    start: Start, keys: Keys, framing: str
) -> None:
    """Most clients do not listen before; what they send is thrown away, and the connection is good afterwards."""
    gated = start(keys.ring)
    wire = gated.wire()
    for key, code in (("nonsense", "unauthorized"), (keys.scanner, "forbidden")):
        wire.begin("/v1/detect", f"x-api-key: {key}", framing)
        body = bytes(3_000_000)
        wire.send(body if "length" in framing else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert wire.answer().code == code
    gated.wait_until_idle(keys.both)


def test_a_client_that_closes_its_connection_reads_why_it_was_refused(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    wire = gated.wire()
    wire.begin("/v1/detect", "x-api-key: nonsense", "connection: close", "content-length: 3000000")
    wire.send(bytes(3_000_000))
    assert wire.answer().code == "unauthorized"
    assert wire.rest() == b""


def test_the_rest_of_a_refused_body_has_its_time(start: Start, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocol, "DISCARD_TIMEOUT_S", 0.2)
    wire = start(keys.ring).wire()
    started = time.monotonic()
    wire.begin("/v1/detect", "content-length: 3000000")
    assert wire.answer().code == "unauthorized"
    with suppress(ConnectionError):
        while time.monotonic() < started + 5 and wire.is_silent(0.02):
            wire.send(b"x")
    assert wire.rest() == b""
    assert 0.1 < time.monotonic() - started < 3


def test_a_short_body_where_none_is_wanted_is_ignored(start: Start) -> None:
    wire = start().wire()
    for _ in range(2):
        wire.begin("/", "content-length: 2", "content-type: application/json", method="GET")
        wire.send(b"{}")
        assert wire.answer().status == 200


def test_what_a_body_is_said_to_have_takes_no_room(start: Start) -> None:
    """Otherwise a few clients that announce much and send nothing would keep all others out."""
    gated = start(max_body_bytes=2_000, max_buffered_bytes=4_000)
    for _ in range(5):
        gated.wire().begin("/v1/detect", "content-length: 2000")
    assert gated.ask(content=b"x" * 2_000).status == 200


def test_room_for_a_chunked_body_grows_with_it(start: Start) -> None:
    gated = start(max_body_bytes=300_000, max_buffered_bytes=600_000)
    chunked, other, third = (gated.wire() for _ in range(3))
    chunked.begin("/v1/detect", "transfer-encoding: chunked")
    chunk = b"%x\r\n%s\r\n" % (100_000, bytes(100_000))
    chunked.send(chunk)
    until("it has grown", lambda: gated.buffered == 100_000)
    for wire, sent in ((other, 200_000), (third, 140_000)):
        wire.begin("/v1/detect", "content-length: 200010")
        wire.send(bytes(sent))
    until("the others have their room", lambda: gated.buffered == 440_000)
    chunked.send(chunk)
    chunked.send(chunk)
    assert chunked.answer().code == "overloaded"
    until("its room is free", lambda: gated.buffered == 340_000)
    other.send(bytes(10))
    assert other.answer().status == 200
    third.close()
    gated.wait_until_idle()


# --- how big, and how slow --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", ["1025", "70000", "9" * 18, "0" * 10 + "1025"])
def test_a_body_that_is_said_to_be_too_long_is_not_read(start: Start, length: str) -> None:
    gated = start(max_body_bytes=1024)
    wire = gated.wire()
    wire.begin("/v1/detect", f"content-length: {length}")
    answer = wire.answer()
    assert (answer.status, answer.code) == (413, "too_large")
    assert b"1024 bytes" in answer.body
    assert answer.headers["connection"] == "close"
    assert wire.rest() == b""
    assert not gated.inner.paths
    gated.wait_until_idle()


def test_a_client_that_asks_first_does_not_send_in_vain(start: Start) -> None:
    """`Expect: 100-continue`: refusals come in place of the go-ahead, which comes when the body is wanted."""
    gated = start(max_body_bytes=1024)
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 5000", "expect: 100-continue")
    assert wire.rest().startswith(b"HTTP/1.1 413")
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 5", "expect: 100-continue")
    assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"hello")
    assert wire.answer().status == 200
    assert gated.inner.bodies == [b"hello"]


def test_a_chunked_body_is_refused_while_it_arrives(start: Start) -> None:
    """It never ends: a gate that waited for the end would never answer."""
    gated = start(max_body_bytes=100_000)
    wire = gated.wire()
    wire.begin("/v1/detect", "transfer-encoding: chunked")
    chunk = b"%x\r\n%s\r\n" % (50_000, bytes(50_000))
    wire.send(chunk)
    wire.send(chunk)
    assert wire.is_silent()
    wire.send(chunk)
    answer = wire.answer()
    assert (answer.status, answer.code) == (413, "too_large")
    assert wire.rest() == b"", "the connection ends"
    assert not gated.inner.paths
    gated.wait_until_idle()


@pytest.mark.parametrize("framing", ["content-length: 5000000", "transfer-encoding: chunked"])
def test_a_client_that_sends_all_the_same_reads_why_it_was_refused(start: Start, framing: str) -> None:
    """A connection that is closed under a client that still sends is reset, and the answer lost."""
    gated = start(max_body_bytes=1024)
    wire = gated.wire()
    wire.begin("/v1/detect", framing)
    body = bytes(5_000_000)
    wire.send(body if "length" in framing else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert wire.answer().code == "too_large"
    assert wire.rest() == b""
    gated.wait_until_idle()


def test_a_refused_body_that_never_ends_is_not_read_forever(start: Start) -> None:
    gated = start(max_body_bytes=1024)
    wire = gated.wire()
    wire.begin("/v1/detect", "transfer-encoding: chunked")

    def is_cut_off() -> bool:
        try:
            wire.send(b"400\r\n%s\r\n" % bytes(1024))
        except ConnectionError:
            return True
        return False

    until("the connection ends", is_cut_off)


def test_a_body_of_exactly_the_limit_passes(start: Start) -> None:
    gated = start(max_body_bytes=100_000)
    body = bytes(range(250)) * 400
    assert gated.ask(content=body).status == 200
    assert gated.ask(content=iter([body[:70_000], body[70_000:]])).status == 200
    assert gated.inner.bodies == [body, body]
    assert gated.ask(content=iter([body, b"x"])).code == "too_large"
    assert gated.metric("fakescan_serve_body_bytes_total") == 200_000


@pytest.mark.parametrize("pace", ["stops", "trickles"])
def test_a_body_has_a_time_to_arrive(start: Start, pace: str) -> None:
    gated = start(upload_timeout_s=0.3)
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 1000000")
    started = time.monotonic()
    wire.send(b"x")
    if pace == "trickles":
        while wire.is_silent() and time.monotonic() < started + 5:
            wire.send(b"x")
    answer = wire.answer()
    assert (answer.status, answer.code) == (408, "upload_timeout")
    assert 0.2 < time.monotonic() - started < 2
    assert b"0.3 s" in answer.body
    assert answer.headers["connection"] == "close"
    assert not gated.inner.paths
    gated.wait_until_idle()


def test_a_client_that_leaves_while_it_sends_leaves_nothing(start: Start) -> None:
    gated = start()
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 1000")
    wire.send(b"half")
    until("it is under way", lambda: gated.buffered == 4)
    wire.close()
    gated.wait_until_idle()
    assert not gated.inner.paths
    assert gated.metric('fakescan_serve_refused_total{code="disconnected"}') == 1


def test_a_connection_is_good_after_a_refusal(start: Start, keys: Keys) -> None:
    """The body of what was refused is not taken for the next request."""
    gated = start(keys.ring)
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 30")
    wire.send(b"GET /page/x HTTP/1.1\r\nhost: x\r")
    assert wire.answer().code == "unauthorized"
    wire.begin("/v1/detect", f"x-api-key: {keys.both}", "content-length: 2")
    wire.send(b"ok")
    assert wire.answer().status == 200
    assert (gated.inner.paths, gated.inner.bodies) == (["/v1/detect"], [b"ok"])


# --- what goes on, and what comes back --------------------------------------------------------------------------------


def test_headers_that_steer_serve_or_pretend_are_dropped(start: Start) -> None:
    gated = start()
    forged = [
        "X-Fakescan-Gate-Token: guess", "x-fakescan-key: root", "x-fakescan-from-replica: 1", "x-fakescan-anything: 1",
        "X-Request-Timeout-Seconds: 0", "x-request-disconnect-disabled: ?1", "x-serve-anything: 1", "X-Session-Id: 1",
        "x-serve-router-x: 1", "serve_multiplexed_model_id: 1", "Serve-Multiplexed-Model-Id: 1", "x-api-key: 1",
        "serve-multiplexed_model-id: 1", "authorization: Bearer 1", "cookie: a=b", "x-forwarded-for: 192.0.2.1",
        "forwarded: for=192.0.2.1", "x-request-id: mine-1", "x-request-id: mine-2",
    ]  # fmt: skip
    wire = gated.wire()
    wire.begin("/v1/detect?a=b", "accept: text/event-stream", "x-mine: 1", "content-length: 0", *forged)
    answer = wire.answer()
    assert answer.status == 200
    (headers,) = gated.inner.headers
    assert sorted(headers) == [
        (b"accept", b"text/event-stream"),
        (b"content-length", b"0"),
        (b"host", b"gate"),
        (b"x-fakescan-client", b"127.0.0.1"),
        (b"x-fakescan-gate-token", TOKEN.encode()),
        (b"x-fakescan-key", b"-"),
        (b"x-fakescan-key-id", b""),
        (b"x-mine", b"1"),
        (b"x-request-id", answer.headers["x-request-id"].encode()),
    ]


@pytest.mark.parametrize("given", ["a" * 64, "7f.A_b:c-9"])
def test_a_client_may_name_its_request(start: Start, given: str) -> None:
    gated = start()
    assert gated.ask(headers={"x-request-id": given}).headers["x-request-id"] == given
    assert dict(gated.inner.headers[0])[b"x-request-id"] == given.encode()


@pytest.mark.parametrize("given", [b"", b"a" * 65, b"a b", b"a\xff", b"<script>", b"a;b", b"a/b"])
def test_an_odd_request_id_is_replaced(start: Start, given: bytes) -> None:
    gated = start()
    first, second = (gated.ask(headers={b"x-request-id": given}).headers["x-request-id"] for _ in range(2))
    assert first != second
    assert len(first) == 16
    assert dict(gated.inner.headers[0])[b"x-request-id"] == first.encode()


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (serves_own(503), "overloaded"),
        (serves_own(404), "starting"),
        (serves_own(408), "timeout"),
        (serves_own(500), "unavailable"),
        (serves_own(200), "unavailable"),
        (nothing, "unavailable"),
        (breaks, "unavailable"),
    ],
)
def test_serves_own_answers_become_problems(start: Start, act: Act, code: str) -> None:
    gated = start()
    gated.inner.act = act
    answer = gated.ask()
    assert (answer.status, answer.code) == (503, code)
    assert b"Serve's own words" not in answer.body
    assert b"secret detail" not in answer.body
    assert gated.metric(f'fakescan_serve_refused_total{{code="{code}"}}') == 1
    gated.wait_until_idle()


@pytest.mark.parametrize("status", [200, 202, 404, 415, 500, 503])
def test_an_answer_of_a_replica_passes_without_what_is_between_them(start: Start, status: int) -> None:
    gated = start()
    internal = ((b"X-Fakescan-Outcomes", b"fake=1"), (b"x-fakescan-other", b"1"), (b"x-request-id", b"another"))
    gated.inner.act = from_replica(
        status, b"the replica's words", (*internal, (b"x-kept", b"1"), (b"content-type", b"a/b"))
    )
    answer = gated.ask(headers={"x-request-id": "mine"})
    assert (answer.status, answer.body) == (status, b"the replica's words")
    assert answer.headers["x-kept"] == "1"
    assert answer.headers["content-type"] == "a/b"
    assert answer.headers["x-request-id"] == "mine"
    assert not [name for name in answer.headers if name.startswith("x-fakescan")]


def _stream_cut(kind: bytes, then: Act) -> Act:
    async def act(receive: Receive, send: Send) -> None:
        await _send(
            send, 200, b"event: a\n\n", [(b"content-type", kind), (b"x-fakescan-from-replica", b"1")], more=True
        )
        await then(receive, send)

    return act


@pytest.mark.parametrize("then", [nothing, breaks])
def test_a_stream_that_is_cut_ends_with_an_error(start: Start, then: Act) -> None:
    gated = start()
    gated.inner.act = _stream_cut(b"text/event-stream; charset=utf-8", then)
    answer = gated.ask()
    assert answer.status == 200
    first, error, end = answer.body.decode().split("\n\n")
    assert (first, end) == ("event: a", "")
    name, _, data = error.partition("\ndata: ")
    assert name == "event: error"
    problem = json.loads(data)
    assert (problem["code"], problem["status"]) == ("unavailable", 503)
    assert problem["request_id"] == answer.headers["x-request-id"]
    gated.wait_until_idle()


def test_another_answer_that_is_cut_cannot_be_taken_for_whole(start: Start) -> None:
    gated = start()
    gated.inner.act = _stream_cut(b"application/json", nothing)
    with pytest.raises(httpx.RemoteProtocolError):
        gated.ask()
    gated.wait_until_idle()


def test_who_gets_no_answer_in_time_is_told_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "_GRACE_S", 0.1)
    gated = start(request_timeout_s=0.2)
    gated.inner.act = hangs
    started = time.monotonic()
    answer = gated.ask()
    assert (answer.status, answer.code) == (503, "timeout")
    assert time.monotonic() - started < 2
    assert gated.inner.cancelled == 1, "nobody works on for it"
    gated.wait_until_idle()


def test_a_stream_that_hangs_is_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "_GRACE_S", 0.1)
    gated = start(request_timeout_s=0.2)
    gated.inner.act = _stream_cut(b"text/event-stream", hangs)
    answer = gated.ask()
    assert answer.status == 200
    assert answer.body.startswith(b"event: a\n\nevent: error\ndata: {")
    assert gated.inner.cancelled == 1
    gated.wait_until_idle()


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_leaves_frees_its_place(start: Start, begun: bool) -> None:
    gated = start()
    gated.inner.act = _stream_cut(b"text/event-stream", waits_for_leaving) if begun else waits_for_leaving
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 3")
    wire.send(b"abc")
    until("it is in", lambda: gated.inner.at_once == 1)
    if begun:
        assert wire.socket.recv(12) == b"HTTP/1.1 200"
    wire.close()
    until("it is given up", lambda: gated.inner.at_once == 0)
    gated.wait_until_idle()
    assert gated.metric('fakescan_serve_refused_total{code="disconnected"}') == 1


# --- the fast path to a replica ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [False, True])
def test_both_paths_carry_the_same(start: Start, keys: Keys, fast: bool) -> None:
    gated = start(keys.ring, fast=fast)
    gated.inner.act = from_replica(
        200, b"an answer", (outcomes(("fake", 9), ("fake", 9), ("real", 9)), (b"x-kept", b"1"), (b"x-request-id", b"?"))
    )
    forged = {"x-fakescan-gate-token": "guess", "x-request-timeout-seconds": "0", "x-mine": "1", "x-request-id": "mine"}
    answer = gated.ask("/v1/detect?explain=none&a=%20", key=keys.judge, content=b"x" * 1_000, headers=forged)
    assert gated.fast_calls == fast
    assert (answer.status, answer.body, answer.headers["x-kept"]) == (200, b"an answer", "1")
    assert answer.headers["x-request-id"] == "mine"
    assert not [name for name in answer.headers if name.startswith("x-fakescan")]
    assert (gated.inner.paths, gated.inner.bodies) == (["/v1/detect"], [b"x" * 1_000])
    (headers,) = gated.inner.headers
    for name, value in ((b"x-fakescan-gate-token", TOKEN.encode()), (b"x-fakescan-key", b"judge"), (b"x-mine", b"1")):
        assert [given for other, given in headers if other == name] == [value]
    assert not {b"authorization", b"x-request-timeout-seconds"} & dict(headers).keys()
    assert gated.ask(key=keys.judge).code == "rate_limited", "its images have been counted"
    gated.inner.act = serves_own(503)
    assert gated.ask(key=keys.both).code == "overloaded"


@pytest.mark.parametrize(
    "asked",
    [
        {"headers": {"accept": "text/event-stream"}},
        {"params": {"stream": "true"}},
        {"files": {"file": b"x"}, "data": {"stream": "true"}},
        {"path": "/v1/chat/completions"},
        {"path": "/v1/models/x", "method": "GET"},
    ],
)
def test_what_may_be_streamed_takes_serves_own_path(start: Start, asked: dict[str, Any]) -> None:
    gated = start(fast=True)
    assert gated.ask(**asked).status == 200
    assert gated.fast_calls == 0


def test_a_client_that_leaves_ends_the_call(start: Start) -> None:
    gated = start(fast=True)
    gated.inner.act = hangs
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 3")
    wire.send(b"abc")
    until("it is in", lambda: gated.inner.at_once == 1)
    wire.close()
    until("it is cancelled", lambda: gated.inner.cancelled == 1)
    gated.wait_until_idle()
    assert gated.metric('fakescan_serve_refused_total{code="disconnected"}') == 1


def test_a_call_has_its_time_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "_GRACE_S", 0.1)
    gated = start(fast=True, request_timeout_s=0.2)
    gated.inner.act = hangs
    assert gated.ask().code == "timeout"
    until("it is cancelled", lambda: gated.inner.cancelled == 1)
    gated.wait_until_idle()


def test_a_call_that_finds_a_full_queue_is_no_lost_replica(start: Start) -> None:
    from ray.serve.exceptions import BackPressureError

    async def refuses(receive: Receive, send: Send) -> None:
        raise BackPressureError(1, 1)

    gated = start(fast=True)
    gated.inner.act = refuses
    assert gated.ask().code == "overloaded"
    gated.inner.act = breaks
    assert gated.ask().code == "unavailable"


@pytest.mark.parametrize("fast", [False, True])
def test_an_application_that_has_gone_is_no_full_queue(start: Start, fast: bool) -> None:
    from ray.serve._private.common import DeploymentID
    from ray.serve.exceptions import DeploymentUnavailableError

    error = DeploymentUnavailableError(DeploymentID("Detector", "fakevlm"))

    async def has_gone(receive: Receive, send: Send) -> None:
        if fast:
            raise error
        await _send(send, 503, error.message.encode(), [])

    gated = start(fast=fast)
    gated.inner.act = has_gone
    answer = gated.ask()
    assert (answer.status, answer.code) == (503, "unavailable")
    assert b"no replica is available" in answer.body


@pytest.mark.parametrize("act", [serves_own(503), serves_own(404), nothing])
def test_a_server_that_stops_says_so_as_readyz_does(start: Start, act: Act) -> None:
    gated = start()
    gated.control.is_draining = True
    ready = gated.ask("/readyz", method="GET")
    gated.inner.act = act
    answer = gated.ask()
    assert (answer.status, answer.code) == (503, "unavailable")
    assert json.loads(answer.body)["detail"] == json.loads(ready.body)["detail"]
    gated.inner.act = serves_own(408)
    assert gated.ask().code == "timeout"


def test_an_error_of_the_application_is_not_told_as_a_lost_replica(start: Start) -> None:
    """Starlette answers for it, and raises it all the same."""

    async def fails(receive: Receive, send: Send) -> None:
        await from_replica(500, b"an internal error")(receive, send)
        raise ValueError

    gated = start(fast=True)
    gated.inner.act = fails
    answer = gated.ask()
    assert (answer.status, answer.body) == (500, b"an internal error")


# --- the gate's own answers -------------------------------------------------------------------------------------------


def test_before_the_application_is_there_only_health_answers(start: Start) -> None:
    gated = start()
    gated.control.is_up = False
    assert gated.ask("/healthz", method="GET").body == b'{"status":"ok"}'
    for path in ("/readyz", "/v1/detect", "/v1/about", "/", "/metrics"):
        answer = gated.ask(path, method="GET")
        assert (answer.status, answer.code) == (503, "starting"), path
    assert not gated.inner.paths
    gated.control.is_up = True
    assert gated.ask("/v1/about", method="GET").status == 200


@pytest.mark.parametrize(
    ("act", "status", "code"),
    [
        (from_replica(200), 200, None),
        (from_replica(503), 503, "starting"),
        (serves_own(503), 503, "starting"),
        (serves_own(404), 503, "starting"),
        (serves_own(500), 503, "starting"),
        (nothing, 503, "starting"),
        (breaks, 503, "starting"),
        (hangs, 503, "starting"),
    ],
)
def test_ready_is_what_a_replica_answers(
    start: Start, keys: Keys, monkeypatch: pytest.MonkeyPatch, act: Act, status: int, code: str | None
) -> None:
    monkeypatch.setattr(readiness, "_PROBE_S", 0.2)
    gated = start(keys.ring)
    gated.inner.act = act
    answer = gated.ask("/readyz", method="GET")
    assert answer.status == status
    assert answer.body == b'{"status":"ready"}' if code is None else answer.code == code
    assert dict(gated.inner.headers[0])[b"x-fakescan-gate-token"] == TOKEN.encode(), (
        "the replica would refuse it otherwise"
    )


def test_however_many_ask_whether_it_is_ready_one_replica_is_asked(
    start: Start, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody needs a key for it."""
    monkeypatch.setattr(readiness, "_RETRY_S", 60.0)
    gated = start(keys.ring)
    gated.inner.act = held = Held(from_replica(503))
    wires = [gated.wire() for _ in range(20)]
    for wire in wires:
        wire.begin("/readyz", method="GET")
    until("one is asked", lambda: gated.inner.at_once == 1)
    assert all(wire.is_silent(0.02) for wire in wires)
    held.release()
    assert {wire.answer().code for wire in wires} == {"starting"}
    assert gated.ask("/readyz", method="GET").code == "starting"
    assert gated.inner.paths == ["/readyz"]


@pytest.mark.parametrize("who", ["server", "node"])
def test_who_is_about_to_stop_is_not_ready_and_answers_all_the_same(start: Start, who: str) -> None:
    gated = start()
    assert gated.ask().status == 200
    assert gated.ask("/readyz", method="GET").status == 200
    gated.control.is_draining, gated.inner.takes_requests = who == "server", who != "node"
    assert gated.ask("/readyz", method="GET").code == "unavailable"
    assert gated.ask().status == 200
    assert gated.ask("/healthz", method="GET").status == 200


def test_without_a_control_actor_a_replica_is_asked(start: Start) -> None:
    """The application may have been deleted; what was seen lately proves nothing then."""
    gated = start()
    assert gated.ask().status == 200
    gated.control.answers = False
    gated.inner.act = serves_own(404)
    assert gated.ask("/readyz", method="GET").code == "unavailable"


def test_a_server_that_has_been_ready_is_never_starting_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stops may lose its control actor before the gate has heard of it: balancers must not wait for it."""
    monkeypatch.setattr(readiness, "_RETRY_S", 0.0)
    gated = start()
    gated.inner.act = serves_own(404)
    assert [gated.ask("/readyz", method="GET").code, gated.ask().code] == ["starting"] * 2
    gated.inner.act = from_replica()
    assert gated.ask("/readyz", method="GET").status == 200
    gated.control.answers = False
    for act in (serves_own(404), serves_own(503), nothing, breaks):
        gated.inner.act = act
        assert gated.ask("/readyz", method="GET").code == "unavailable"
    gated.inner.act = serves_own(404)
    assert gated.ask().code == "unavailable"


def test_who_has_answered_lately_is_ready(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load a probe would only wait behind the requests that prove the same."""
    gated = start()
    assert gated.ask().status == 200
    gated.inner.act = serves_own(404)
    assert gated.ask("/readyz", method="GET").status == 200
    assert gated.inner.paths == ["/v1/detect"]
    monkeypatch.setattr(readiness, "_SEEN_S", 0.0)
    assert gated.ask("/readyz", method="GET").code == "unavailable"
    assert gated.inner.paths == ["/v1/detect", "/readyz"]


def test_metrics_count_by_route_status_and_code(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    gated.ask(key=keys.both)
    gated.ask()
    for path in ("/a", "/b", "/v1/scans/1", "/v1/scans/2"):
        gated.ask(path, key=keys.both)
    gated.ask("/page/page.css", method="GET")
    answer = gated.ask("/metrics", method="GET", key=keys.both)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    text = answer.body.decode()
    for row in (
        'fakescan_serve_requests_total{route="/v1/detect",status="200"} 1.0',
        'fakescan_serve_requests_total{route="/v1/detect",status="401"} 1.0',
        'fakescan_serve_requests_total{route="other",status="404"} 2.0',
        'fakescan_serve_requests_total{route="/page",status="200"} 1.0',
        'fakescan_serve_refused_total{code="not_found"} 2.0',
        'fakescan_serve_requests_total{route="/v1/scans",status="200"} 2.0',
        'fakescan_serve_refused_total{code="unauthorized"} 1.0',
        'fakescan_serve_request_seconds_count{route="/v1/detect"} 2.0',
        "fakescan_serve_ongoing_requests 0.0",
    ):
        assert row in text.splitlines(), text
    assert 'route="/a"' not in text, "what clients make up is no label"


def test_a_key_without_the_scope_has_its_name_in_the_log(
    start: Start, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    gated = start(keys.ring)
    with caplog.at_level(logging.INFO, logger="ray.serve.fakescan"):
        assert gated.ask(key=keys.scanner).code == "forbidden"
        assert gated.ask(key=keys.off).code == "unauthorized"
        until("both are written", lambda: len(log_lines(caplog)) == 2)
    assert [line["key"] for line in log_lines(caplog)] == ["scanner", "-"]


def test_every_request_leaves_one_line_in_the_log(start: Start, keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    gated = start(keys.ring)
    gated.inner.act = from_replica(headers=(outcomes(("fake", 9)),))
    with caplog.at_level(logging.INFO, logger="ray.serve.fakescan"):
        gated.ask(key=keys.both, headers={"x-request-id": "mine-1", "user-agent": "curl/8"}, content=b"12345")
        gated.ask("/a%0aFORGED%1b%e2%80%a8", headers={"x-request-id": "mine-2", "x-api-key": keys.off})
        gated.ask("/healthz", method="GET")
        until("both are written", lambda: len(log_lines(caplog)) == 2)
    assert caplog.text.count("\n") == 2, "no path makes lines"
    first, second = log_lines(caplog)
    assert first.pop("time").endswith("+00:00")
    assert first.pop("ms") > 0
    assert first == {
        "request_id": "mine-1",
        "client": "127.0.0.1",
        "user_agent": "curl/8",
        "key": "both",
        "key_id": keys.both[4:12],
        "method": "POST",
        "path": "/v1/detect",
        "status": 200,
        "bytes": 5,
        "images": [{"outcome": "fake", "sha256": "ab" * 32}],
    }
    assert (second["path"], second["status"], second["code"]) == ("/a\nFORGED\x1b\u2028", 401, "unauthorized")
    assert keys.both not in caplog.text
    assert keys.off not in caplog.text


def test_who_asks_through_a_trusted_proxy_has_its_own_address(
    start: Start, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    gated = start(keys.ring, anonymous_per_minute=8)
    first, second = ({"x-forwarded-for": f"198.51.100.9, {address}"} for address in ("192.0.2.1", "2001:db8::1"))
    with caplog.at_level(logging.INFO, logger="ray.serve.fakescan"):
        gated.ask("/", method="GET", headers=first)
        gated.control.proxies = ("127.0.0.0/8",)
        codes = [gated.ask("/", method="GET", headers=first).code for _ in range(3)]
        assert codes == ["", "", "rate_limited"]
        assert gated.ask("/", method="GET", headers=second).status == 200
        until("all are written", lambda: len(log_lines(caplog)) == 5)
    assert [line["client"] for line in log_lines(caplog)] == ["127.0.0.1", *["192.0.2.1"] * 3, "2001:db8::1"]


@pytest.mark.parametrize("path", ["/-/healthz", "/-/routes"])
def test_serves_own_paths_pass_as_they_are(start: Start, keys: Keys, path: str) -> None:
    gated = start(keys.ring)
    gated.inner.act = serves_own(200)
    gated.control.is_up = False
    assert gated.ask(path, method="GET", headers={"x-asked": "1"}).body == b"Serve's own words"
    assert b"x-fakescan-gate-token" not in dict(gated.inner.headers[0]), "the token stays here"


def test_websockets_are_refused(start: Start) -> None:
    gated = start()
    wire = gated.wire()
    upgrade = (
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: MTIzNDU2Nzg5MDEyMzQ1Ng==",
    )
    wire.begin("/v1/detect", *upgrade, method="GET")
    assert wire.answer().status == 403
    assert not gated.inner.paths


# --- headers, which no middleware sees before they are complete -------------------------------------------------------


@pytest.mark.parametrize("line", [b"a: b\r\n", b"v" * 1_000], ids=["many headers", "a long one"])
def test_headers_that_grow_without_end_are_cut_off(start: Start, line: bytes) -> None:
    gated = start()
    wire = gated.wire()
    wire.send(b"GET /v1/about HTTP/1.1\r\nhost: gate\r\nlong: ")
    piece = line * (10_000 // len(line))
    sent = 0

    def is_refused() -> bool:
        nonlocal sent
        if not wire.is_silent(0.01):
            return True
        wire.send(piece)
        sent += len(piece)
        return False

    until("it is refused", is_refused)
    assert sent < 4 * uvicorn_protocol.MAX_HEADER_BYTES
    assert wire.rest().startswith(b"HTTP/1.1 431 ")
    assert not gated.inner.paths


def test_headers_of_a_sensible_size_pass(start: Start) -> None:
    gated = start()
    cookie = "c" * (uvicorn_protocol.MAX_HEADER_BYTES - 2_000)
    wire = gated.wire()
    for _ in range(3):
        wire.begin("/v1/detect", f"cookie: {cookie}", "content-length: 200000")
        wire.send(bytes(200_000))  # a body is no part of it
        assert wire.answer().status == 200


def test_trailers_take_no_memory_and_are_no_headers(start: Start, keys: Keys) -> None:
    gated = start(keys.ring)
    wire = gated.wire()
    wire.begin("/v1/detect", f"x-api-key: {keys.both}", "transfer-encoding: chunked", "content-type: image/png")
    wire.send(b"1\r\nx\r\n0\r\ncontent-type: image/gif\r\nx-late: 1\r\n\r\n")
    assert wire.answer().status == 200
    assert [value for name, value in gated.inner.headers[0] if name == b"content-type"] == [b"image/png"]
    assert b"x-late" not in dict(gated.inner.headers[0])

    wire.begin("/v1/detect", "transfer-encoding: chunked")
    wire.send(b"0\r\n")
    assert wire.answer().status == 401
    before = psutil.Process().memory_info().rss
    piece = b"a:b\r\n" * 20_000
    with suppress(ConnectionError):
        for _ in range(50):
            wire.send(piece)
    assert gated.ask("/healthz", method="GET").status == 200
    assert psutil.Process().memory_info().rss - before < 25_000_000, "5 MB, twenty times that as headers"


@pytest.mark.parametrize("framing", [b"1\r\nx\r\n0\r\nlong: ", b"1;long="], ids=["a trailer", "an extension"])
def test_framing_that_never_ends_is_cut_off(start: Start, keys: Keys, framing: bytes) -> None:
    """Also behind a refusal, after which nobody waits for the rest of the body any more."""
    gated = start(keys.ring)
    wire = gated.wire()
    wire.begin("/v1/detect", "transfer-encoding: chunked")
    assert wire.answer().status == 401
    wire.send(framing)

    def is_cut_off() -> bool:
        try:
            wire.send(bytes(100_000).replace(b"\0", b"v"))
        except ConnectionError:
            return True
        return False

    until("the connection ends", is_cut_off)


def test_small_chunks_are_no_endless_framing(start: Start) -> None:
    gated = start()
    body = bytes(range(256)) * 12
    assert gated.ask(content=iter(bytes([byte]) for byte in body)).status == 200
    assert gated.inner.bodies == [body]


@pytest.mark.parametrize("begun", ["", "GET /v1/ab", "GET / HTTP/1.1\r\nhost: x\r\na"])
def test_headers_have_a_time_to_arrive(start: Start, monkeypatch: pytest.MonkeyPatch, begun: str) -> None:
    monkeypatch.setattr(uvicorn_protocol, "HEADER_TIMEOUT_S", 0.3)
    gated = start()
    wire = gated.wire()
    started = time.monotonic()
    wire.send(begun.encode())
    if begun:
        while wire.is_silent() and time.monotonic() < started + 5:
            wire.send(b"x")
    assert wire.rest().startswith(b"HTTP/1.1 408 ")
    assert 0.2 < time.monotonic() - started < 2


def test_headers_of_every_request_have_their_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocol, "HEADER_TIMEOUT_S", 0.3)
    gated = start()
    wire = gated.wire()
    for _ in range(6):
        assert wire.is_silent()
        wire.begin("/v1/about", method="GET")
        assert wire.answer().status == 200
    started = time.monotonic()
    wire.send(b"GET / HTTP/1.1\r\n")
    assert wire.rest().startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("early", [b"\r\n", b"GET /v1/about HTTP/1.1\r\n"])
def test_what_comes_early_does_not_cut_the_answer_before_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, early: bytes
) -> None:
    """A stray end of line, or the beginning of the next request, while this one is worked on."""
    monkeypatch.setattr(uvicorn_protocol, "HEADER_TIMEOUT_S", 0.1)
    gated = start()
    gated.inner.act = held = Held()
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 0")
    until("it is in", lambda: gated.inner.at_once == 1)
    wire.send(early)
    assert all(wire.is_silent() for _ in range(4)), "four times as long as headers may take"
    held.release()
    assert wire.answer().status == 200
