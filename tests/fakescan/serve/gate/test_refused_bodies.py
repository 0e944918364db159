"""What comes to nothing by its client's doing: refused as early as can be, soon slowed down, for that client alone."""

import json
import time

import pytest

from fakescan.serve.gate import gate as gate_module
from tests.gated import Keys, Start, form, from_replica, outcomes, until

pytestmark = pytest.mark.unit

JSON = {"content-type": "application/json"}
PARTS = b'{"model":"m","messages":[{"role":"user","content":[' + b'{"type":"text","text":"x"},' * 100_000
REFUSED = from_replica(415, b"{}", ((b"x-fakescan-code", b"not_an_image"),))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MAX_DELAY_S", 0.02)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("framing", ["content-length: 60000000", "transfer-encoding: chunked"])
def test_json_that_holds_too_much_is_refused_by_its_first_pieces(start: Start, path: str, framing: str) -> None:
    gated = start()
    wire = gated.wire()
    wire.begin(path, framing, "content-type: Application/JSON; charset=utf-8")
    piece = PARTS[:300_000]
    wire.send(piece if "length" in framing else b"%x\r\n%s\r\n" % (len(piece), piece))
    answer = wire.answer()
    assert (answer.status, answer.code) == (422, "invalid")
    assert b"20000 elements" in answer.body
    assert answer.headers["connection"] == "close", "the rest is not wanted"
    assert not gated.inner.paths, "no replica has seen it"
    gated.wait_until_idle()


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (("content-type: application/json",), b"Content-Type application/json: send multipart/form-data"),
        (("content-type: image/jpeg", "content-encoding: gzip"), b"Content-Encoding gzip: send the body as it is"),
        (("content-type: image/jpeg", "content-encoding: identity, br"), b"Content-Encoding identity, br: send"),
    ],
)
def test_what_no_body_can_make_good_is_refused_before_it(start: Start, headers: tuple[str, ...], words: bytes) -> None:
    gated = start()
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 60000000", *headers)
    answer = wire.answer()
    assert (answer.status, answer.code) == (415, "unsupported_media")
    assert words in answer.body
    assert not gated.inner.paths
    gated.wait_until_idle()
    assert gated.ask(content=b"x", headers={"content-type": "image/png", "content-encoding": "identity"}).status == 200


def test_json_within_the_bounds_passes_in_pieces_of_any_size(start: Start) -> None:
    gated = start()
    body = json.dumps({'a\\"': ["\\" * 9, '"[{' * 50, {"é\n": [0.5] * 99}], "image": "A" * 200_000}).encode()
    wire = gated.wire()
    wire.begin("/v1/chat/completions", f"content-length: {len(body)}", "content-type: application/json")
    for begin in range(0, 900, 3):
        wire.send(body[begin : begin + 3])
    wire.send(body[900:])
    assert wire.answer().status == 200
    assert gated.inner.bodies == [body]
    broken = gated.ask("/v1/chat/completions", content=b'{"model":"' + b"x" * 500_000, headers=JSON)
    assert broken.code == "invalid"
    assert len(gated.inner.bodies) == 1


def test_who_sends_junk_is_slowed_down_and_nobody_else(start: Start, keys: Keys) -> None:
    gated = start(keys.ring, refused_per_minute=20)
    gated.control.proxies = ("127.0.0.1",)
    here, elsewhere = {"x-forwarded-for": "192.0.2.1"}, {"x-forwarded-for": "192.0.2.2"}
    gated.inner.act = REFUSED
    assert [gated.ask(key=keys.both, headers=here).status for _ in range(2)] == [415] * 2
    answer = gated.ask(key=keys.both, headers=here)
    assert answer.code == "rate_limited"
    assert 1 <= int(answer.headers["retry-after"]) <= 6
    assert b"too many requests of the key both from 192.0.2.1 could not be judged" in answer.body
    assert answer.headers["connection"] == "close"
    gated.inner.act = from_replica()
    passed = len(gated.inner.paths)
    assert gated.ask(key=keys.both, headers=elsewhere).status == 200, "the same key"
    assert gated.ask(key=keys.many, headers=here).status == 200, "the same address"
    assert len(gated.inner.paths) == passed + 2


def test_without_keys_addresses_are_slowed_down(start: Start) -> None:
    gated = start(refused_per_minute=20)
    gated.inner.act = REFUSED
    assert [gated.ask().status for _ in range(3)] == [415, 415, 429]
    for path in ("/", "/page/page.js", "/healthz"):
        assert gated.ask(path, method="GET").status == 200, "what the gate has itself costs nothing"


def test_a_client_that_owes_a_moment_waits_for_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MAX_DELAY_S", 1.0)
    gated = start(refused_per_minute=100)  # ten at once, and five in three seconds
    gated.inner.act = REFUSED
    began = time.monotonic()
    assert [gated.ask().status for _ in range(12)] == [415] * 12
    assert time.monotonic() - began > 0.55, "the eleventh waited for its turn"


def test_bytes_that_were_read_in_vain_count(start: Start) -> None:
    gated = start(refused_per_minute=100, max_body_bytes=8 << 20)  # ten at once
    gated.inner.act = REFUSED
    assert gated.ask(content=bytes(8 << 20)).status == 415
    assert gated.ask(content=bytes(8 << 20)).status == 415
    assert gated.ask(content=b"x").code == "rate_limited"


def test_failed_images_of_a_form_count_and_verdicts_earn(start: Start) -> None:
    gated = start(refused_per_minute=40)  # four at once
    half = outcomes(("fake", 100), ("real", 100), ("truncated", 100), ("not_an_image", 0))
    gated.inner.act = from_replica(200, b"{}", (half,))
    for _ in range(5):
        assert gated.ask(**form(4)).status == 200
    none = outcomes(*[("truncated", 100)] * 4)
    gated.inner.act = from_replica(200, b"{}", (none,))
    assert gated.ask(**form(4)).status == 200
    assert gated.ask(**form(4)).code == "rate_limited"


def test_a_client_that_leaves_with_its_body_half_sent_is_counted(start: Start) -> None:
    gated = start(refused_per_minute=10)  # one at once
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 1000")
    wire.send(b"half")
    until("it is under way", lambda: gated.buffered == 4)
    wire.close()
    gated.wait_until_idle()
    assert gated.ask().code == "rate_limited"


def test_faults_of_the_server_are_not_its_clients(start: Start) -> None:
    gated = start(refused_per_minute=10)
    for code, status in (("overloaded", 503), ("timeout", 503), ("internal", 500), ("unavailable", 503)):
        gated.inner.act = from_replica(status, b"{}", ((b"x-fakescan-code", code.encode()),))
        for _ in range(3):
            assert gated.ask().status == status
    gated.inner.act = from_replica()
    assert gated.ask().status == 200


def test_refused_bytes_are_charged_to_the_key(start: Start, keys: Keys) -> None:
    """Whoever has many addresses has one key: `many` has forty images, and one more in a minute."""
    gated = start(keys.ring, max_body_bytes=16 << 20, refused_per_minute=10_000)
    gated.inner.act = REFUSED
    statuses = [gated.ask(key=keys.many, content=bytes(16 << 20)).status for _ in range(6)]
    assert statuses[:4] == [415] * 4
    assert statuses[-1] == 429
