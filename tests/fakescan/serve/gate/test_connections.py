"""Connections to a gate: how many, what comes before a request is complete, and clients that do not read."""

import socket
import time
from contextlib import suppress
from dataclasses import dataclass

import pytest

from fakescan.serve.gate import uvicorn_protocol
from fakescan.serve.gate.bounds.client_address import TrustedProxies, address_of
from fakescan.serve.gate.bounds.connections import Activity, Connections
from fakescan.serve.gate.bounds.local_rates import LocalRates
from fakescan.serve.gate.bounds.rate_limit import Rate
from fakescan.serve.gate.bounds.shares import Shares
from tests.gated import Held, Keys, Start, Wire, until

pytestmark = pytest.mark.unit


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """The connections of a process that has had none."""
    connections = Connections()
    monkeypatch.setattr(uvicorn_protocol, "connections", connections)
    monkeypatch.setattr("fakescan.serve.gate.gate.connections", connections)
    return connections


def is_open(wire: Wire) -> bool:
    """Whether the server has not ended a connection on which nothing is due."""
    wire.socket.settimeout(0.05)
    try:
        return bool(wire.socket.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    finally:
        wire.socket.settimeout(10)


# --- how many ---------------------------------------------------------------------------------------------------------


def test_idle_connections_of_an_address_make_room_for_new_ones(start: Start, fresh: Connections) -> None:
    gated = start(max_connections_per_address=8)
    assert gated.ask("/", method="GET").status == 200, "the gate knows its limits now"
    idle = [gated.wire() for _ in range(8)]
    until("all are counted", lambda: len(fresh) == 8)
    for _ in range(3):
        assert gated.ask().status == 200
    until("those that asked have gone", lambda: len(fresh) <= 8)
    assert not is_open(idle[0]), "the oldest first"
    assert sum(map(is_open, idle)) == 7, "each has made room for the next"
    assert gated.metric('fakescan_serve_connections_cut_total{reason="evicted"}') >= 1


def test_what_is_worked_on_is_never_cut_for_others(start: Start, fresh: Connections) -> None:
    gated = start(max_connections_per_address=4)
    gated.inner.act = held = Held()
    assert gated.ask("/", method="GET").status == 200
    busy = [gated.wire() for _ in range(4)]
    for wire in busy:
        wire.begin("/v1/detect", "content-length: 0")
    until("all are in", lambda: gated.inner.at_once == 4)
    refused = gated.wire()
    assert refused.rest().startswith(b"HTTP/1.1 503 ")
    assert fresh.refused["address"] == 1
    held.release()
    assert [wire.answer().status for wire in busy] == [200] * 4


def test_uploads_go_after_what_is_idle(start: Start, fresh: Connections) -> None:
    gated = start(max_connections_per_address=3)
    assert gated.ask("/", method="GET").status == 200
    until("it has gone", lambda: len(fresh) == 0)
    upload, idle, working = (gated.wire() for _ in range(3))
    upload.begin("/v1/detect", "content-length: 10")
    gated.inner.act = held = Held()
    working.begin("/v1/detect", "content-length: 0")
    until("one is worked on", lambda: gated.inner.at_once == 1)
    until("the others are counted", lambda: len(fresh) == 3)
    gated.wire()
    until("the idle one is cut", lambda: not is_open(idle))
    assert is_open(upload)
    held.release()
    assert working.answer().status == 200


@dataclass(eq=False)
class Peer:
    """A connection without a socket."""

    activity: Activity = Activity.IDLE
    active_since: float = 0.0
    evicted: bool = False

    def evict(self) -> None:
        self.evicted = True


def test_where_all_places_are_taken_the_address_with_the_most_loses_one() -> None:
    connections = Connections()
    connections.limit(8, 100, TrustedProxies())
    few = [Peer(active_since=float(number)) for number in range(2)]
    many = [Peer(active_since=10.0 + number) for number in range(6)]
    assert all(connections.add(peer, "192.0.2.1") for peer in few)
    assert all(connections.add(peer, "192.0.2.2") for peer in many)
    assert connections.add(Peer(), "192.0.2.3")
    assert [peer.evicted for peer in (*few, *many)] == [False, False, True, *[False] * 5]
    for peer in (*few, *many):
        peer.activity = Activity.WORKING
    assert connections.add(Peer(), "192.0.2.4"), "in place of another that is idle"
    assert len(connections) == 8


def test_a_trusted_proxy_has_more_connections_than_a_client() -> None:
    connections = Connections()
    connections.limit(100, 2, TrustedProxies(["10.0.0.0/8"]))
    busy = [Peer(Activity.WORKING) for _ in range(6)]
    assert [connections.add(peer, "10.1.2.3") for peer in busy[:3]] == [True] * 3
    assert [connections.add(peer, "192.0.2.1") for peer in busy[3:]] == [True, True, False]
    for peer in busy:
        connections.remove(peer)
    assert len(connections) == 0


def test_an_ipv6_customer_is_one_client() -> None:
    first, second = address_of("2001:db8::1"), address_of("2001:db8::ffff:1%eth0")
    assert (first.shown, first.group) == ("2001:db8::1", "2001:db8::/64")
    assert second.group == first.group
    assert address_of("2001:db8:0:1::1").group != first.group
    assert address_of("::ffff:192.0.2.1") == address_of("192.0.2.1")
    assert address_of("nonsense").shown == "-"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.5", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["1.1.1.1, " * 30_000 + "198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {"client": (peer, 4711), "headers": headers}
    assert TrustedProxies(["10.0.0.0/8"]).client(scope).shown == client


def test_buckets_of_addresses_take_no_memory_without_end() -> None:
    rates = LocalRates(clock=lambda: 0.0)
    for number in range(30_000):
        rates.take(str(number), Rate(1.0, 1))
    assert len(rates) == 10_000
    assert rates.take("29999", Rate(1.0, 1)) > 0


def test_there_is_always_something_left_for_a_newcomer() -> None:
    for portion in (1.0, 2.0, 3.0):
        for greedy in range(1, 8):
            shares = Shares(portion)
            progress = True
            while progress:
                progress = False
                for client in range(greedy):
                    if shares.allows(str(client), 1, 1000):
                        shares.take(str(client), 1)
                        progress = True
            assert shares.total == pytest.approx(1000 * greedy * portion / (1 + greedy * portion), abs=greedy + 1)
            assert shares.allows("newcomer", 10, 1000)


# --- what comes before a request is complete --------------------------------------------------------------------------


def test_many_requests_at_once_on_one_connection_are_cut_off(start: Start, keys: Keys) -> None:
    """A packet of a thousand requests would cost the client nothing, and the server a second."""
    gated = start(keys.ring)
    gated.inner.act = held = Held()
    wire = gated.wire()
    wire.begin("/v1/detect", f"x-api-key: {keys.both}", "content-length: 0")
    until("it is in", lambda: gated.inner.at_once == 1)
    with suppress(ConnectionError):
        wire.send(b"GET / HTTP/1.1\r\n\r\n" * 3_000)
    assert wire.rest() == b""
    held.release()
    gated.wait_until_idle(keys.both)
    assert gated.metric('fakescan_serve_requests_total{route="/"', keys.both) <= uvicorn_protocol.MAX_PIPELINED + 1


def test_some_requests_ahead_are_answered_in_turn(start: Start) -> None:
    wire = start().wire()
    wire.send(b"GET /healthz HTTP/1.1\r\nhost: gate\r\n\r\n" * 6)
    received = b""
    while received.count(b'{"status":"ok"}') < 6:
        received += wire.socket.recv(65_536)
    assert received.count(b"HTTP/1.1 200 OK") == 6


def test_many_headers_are_cut_off(start: Start) -> None:
    wire = start().wire()
    wire.begin("/", *[f"h{number}: 1" for number in range(uvicorn_protocol.MAX_HEADERS + 1)], method="GET")
    assert wire.rest().startswith(b"HTTP/1.1 431 ")


def test_a_long_url_is_cut_off(start: Start) -> None:
    wire = start().wire()
    wire.begin("/?" + "a&" * uvicorn_protocol.MAX_URL_BYTES, method="GET")
    assert wire.rest().startswith(b"HTTP/1.1 431 ")


def test_a_body_of_many_tiny_chunks_is_cut_off(start: Start, keys: Keys) -> None:
    """Each costs the parser a call, and six bytes to send. A refusal before the body is no way around it."""
    gated = start(keys.ring)
    for key in (keys.both, "nonsense"):
        wire = gated.wire()
        wire.begin("/v1/detect", f"x-api-key: {key}", "transfer-encoding: chunked")
        started = time.process_time()
        with suppress(ConnectionError):
            for _ in range(40):
                wire.send(b"1\r\nx\r\n" * 10_000)
        wire.rest()
        assert time.process_time() - started < 2
    gated.wait_until_idle(keys.both)


# --- who does not read ------------------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_is_cut_off(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold its place for as long as it likes: closing a connection waits for what is to be sent."""
    monkeypatch.setattr(uvicorn_protocol, "WRITE_TIMEOUT_S", 0.3)
    gated = start()

    async def sends_much(receive: object, send: object) -> None:
        await send(  # type: ignore[operator]
            {"type": "http.response.start", "status": 200, "headers": [(b"x-fakescan-from-replica", b"1")]}
        )
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})  # type: ignore[operator]

    gated.inner.act = sends_much
    wire = gated.wire()
    wire.begin("/v1/detect", "content-length: 0")
    until("it is in", lambda: gated.inner.at_once == 1)
    until("it is given up", lambda: gated.inner.at_once == 0)
    gated.wait_until_idle()


def test_an_upgrade_to_websocket_ends_the_connection(start: Start, fresh: Connections) -> None:
    gated = start()
    wire = gated.wire()
    wire.begin("/", "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", method="GET")
    assert wire.rest().startswith(b"HTTP/1.1 403 ")
    until("it is counted no more", lambda: len(fresh) == 0)


# --- upgrades ---------------------------------------------------------------------------------------------------------

UPGRADES = {
    "h2c": ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA"),
    "unknown": ("connection: keep-alive, upgrade", "upgrade: foo/1"),
    "several": ("connection: upgrade", "upgrade: websocket, h2c"),
    "twice": ("connection: upgrade", "upgrade: h2c", "upgrade: foo/1"),
}


@pytest.mark.parametrize("offer", UPGRADES)
@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("piece", [1, 100, 10_000])
def test_an_offer_to_upgrade_is_passed_over(start: Start, offer: str, is_chunked: bool, piece: int) -> None:
    gated = start()
    wire = gated.wire()
    body = b"GET /v1/secret HTTP/1.1\r\nhost: gate\r\n\r\n"
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body
    framing = "transfer-encoding: chunked" if is_chunked else f"content-length: {len(body)}"
    head = "\r\n".join(["POST /v1/detect?a=b HTTP/1.1", "host: gate", *UPGRADES[offer], framing, "x-last: %41", "", ""])
    data = head.encode() + framed
    for _ in range(2):
        for at in range(0, len(data), piece):
            wire.send(data[at : at + piece])
        assert wire.answer().status == 200
    assert wire.is_silent(0.02), "what is in a body is no request"
    assert gated.inner.bodies == [body, body]
    assert gated.inner.paths == ["/v1/detect"] * 2
    assert (b"x-last", b"%41") in gated.inner.headers[0]
    assert not [value for name, value in gated.inner.headers[0] if name == b"upgrade"]


def test_bounds_hold_for_offers_to_upgrade(start: Start) -> None:
    gated = start()
    crowded = gated.wire()
    crowded.begin("/v1/detect", "connection: upgrade", "upgrade: h2c", *(f"x-{number}: a" for number in range(200)))
    assert crowded.rest().startswith(b"HTTP/1.1 431 ")
    wire = gated.wire()
    wire.begin("/v1/detect", "connection: upgrade, close", "upgrade: h2c", "content-length: 0")
    assert wire.rest().startswith(b"HTTP/1.1 200 "), "and the connection is closed, as the client wants"
    ahead = gated.wire()
    gated.inner.act = Held()
    ahead.send(40 * b"GET /v1/detect HTTP/1.1\r\nhost: gate\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    until("it is refused", lambda: gated.metric('fakescan_serve_connections_cut_total{reason="431"}') >= 2)


def test_nothing_is_connected_to_elsewhere(start: Start) -> None:
    gated = start()
    wire = gated.wire()
    wire.send(b"CONNECT example.org:443 HTTP/1.1\r\nhost: gate\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: gate\r\n\r\n")
    assert wire.rest() == b"HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    assert not gated.inner.paths
