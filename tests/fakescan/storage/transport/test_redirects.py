"""Redirects: no hop leaves the allowed prefixes, and none leads from the internet into a private network."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.sources.source import open_source
from fakescan.storage import web_client
from fakescan.storage.prefixes import Boundary, is_public
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode, UserError
from tests.fakescan.sources.test_fetch import tar_of
from tests.fakescan.storage.weather.test_store_weather import rows
from tests.web_server import Answer, WebServer

pytestmark = [pytest.mark.unit, pytest.mark.timeout(60)]


@pytest.fixture
def other() -> Iterator[WebServer]:
    with WebServer() as server:
        server.answers["/secret.jpg"] = Answer(b"secret")
        yield server


def fetch(boundary: Boundary, uri: str) -> Fetched:
    (result,) = Fetcher(Store().within(boundary)).fetch(rows(uri))
    return result


def assert_refused(result: Fetched, words: str) -> None:
    assert (result.error_code, result.data) == (ErrorCode.DENIED, None), result
    assert words in str(result.error_message)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_out_of_the_allowed_prefixes_is_refused(web: WebServer, other: WebServer, status: int) -> None:
    for path, target in {
        "/in/other.jpg": f"{other.url}/secret.jpg",
        "/in/above.jpg": "/secret.jpg",
        "/in/dots.jpg": "/in/../secret.jpg",
        "/in/encoded.jpg": "/in/%2e%2e/secret.jpg",
        "/in/name.jpg": f"{web.url.replace('127.0.0.1', 'localhost')}/in/good.jpg",
        "/in/user.jpg": f"{web.url.replace('http://', 'http://user@')}/in/good.jpg",
        "/in/fine.jpg": "/in/again.jpg",
        "/in/again.jpg": "/in/good.jpg",
        "/in/twice.jpg": "/in/other.jpg",
    }.items():
        web.answers[path] = Answer(status=status, headers={"Location": target})
    web.answers["/in/good.jpg"] = web.answers["/secret.jpg"] = Answer(b"image")
    boundary = Boundary((f"{web.url}/in",))
    for name in ("other", "above", "dots", "encoded", "name", "user", "twice"):
        assert_refused(fetch(boundary, f"{web.url}/in/{name}.jpg"), "lies below no allowed prefix")
    assert fetch(boundary, f"{web.url}/in/fine.jpg").data == b"image"
    assert other.seen == []
    assert "/secret.jpg" not in [seen.target for seen in web.seen]


def test_a_container_is_redirected_within_the_prefixes_only(web: WebServer, other: WebServer) -> None:
    other.answers["/a.tar"] = Answer(tar_of({"a.jpg": b"secret"}))
    web.answers["/in/a.tar"] = Answer(status=302, headers={"Location": f"{other.url}/a.tar"})
    store = Store().within(Boundary((f"{web.url}/in",)))
    with pytest.raises(UserError, match="lies below no allowed prefix"):
        list(open_source(f"{web.url}/in/a.tar", store))
    assert other.seen == []


class TestPrivateAddresses:
    """The internet, as far as names go: `public.example` is a server of this machine that is taken for public."""

    @pytest.fixture(autouse=True)
    def names(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
        """What names mean, look-up by look-up; the last meaning stays."""
        names = {
            "public.example": ["127.0.0.1"],
            "inside.example": ["127.0.0.2"],
            "rebound.example": ["127.0.0.1", "127.0.0.2"],
        }
        real = socket.getaddrinfo

        def look_up(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
            found = names.get(host)
            if found is not None:
                host = found.pop(0) if len(found) > 1 else found[0]
            return real(host, port, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        monkeypatch.setattr(web_client, "is_public", lambda address: address == "127.0.0.1" or is_public(address))
        return names

    @pytest.fixture
    def inside(self) -> Iterator[WebServer]:
        """A server in the private network."""
        with WebServer("127.0.0.2") as server:
            yield server

    @staticmethod
    def at(web: WebServer, host: str) -> str:
        return f"http://{host}:{web.url.rpartition(':')[2]}"

    def test_no_redirect_from_the_internet_into_a_private_network(self, web: WebServer, inside: WebServer) -> None:
        web.answers["/a"] = Answer(status=302, headers={"Location": f"{self.at(inside, 'inside.example')}/b"})
        web.answers["/c"] = Answer(status=302, headers={"Location": f"{self.at(inside, '127.0.0.2')}/b"})
        web.answers["/d"] = Answer(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"})
        web.answers["/e"] = Answer(status=302, headers={"Location": "http://[::1]:1/"})
        for path in "acde":
            result = fetch(Boundary(), f"{self.at(web, 'public.example')}/{path}")
            assert_refused(result, "address of a private network")
        assert {seen.target for seen in web.seen} == {"/a", "/c", "/d", "/e"}
        assert inside.seen == []

    @pytest.mark.parametrize("host", ["127.2", "2130706434", "0x7f000002", "0177.0.0.2", "127.0.0.2.", "127。0。0。2"])
    def test_no_spelling_of_a_private_address_is_followed(self, web: WebServer, inside: WebServer, host: str) -> None:
        inside.answers["/b"] = Answer(b"secret")
        location = f"{self.at(inside, host)}/b".encode().decode("latin-1")
        web.answers["/a"] = Answer(status=302, headers={"Location": location})
        result = fetch(Boundary(), f"{self.at(web, 'public.example')}/a")
        assert result.error_code in (ErrorCode.DENIED, ErrorCode.FETCH_FAILED), result
        assert inside.seen == []

    def test_a_name_that_changes_its_meaning_gains_nothing(self, web: WebServer) -> None:
        web.answers["/a"] = Answer(status=302, headers={"Location": f"{self.at(web, 'rebound.example')}/b"})
        web.answers["/b"] = Answer(b"image")
        first = fetch(Boundary(), f"{self.at(web, 'public.example')}/a")
        assert first.data == b"image"  # it was public when it was connected to
        store = Store.model_validate({"options": {"headers": {"X-Test": "rebound"}}})
        (second,) = Fetcher(store).fetch(rows(f"{self.at(web, 'public.example')}/a"))
        assert_refused(second, "address of a private network")

    def test_a_private_server_may_be_named_and_may_redirect(self, inside: WebServer) -> None:
        inside.answers["/a"] = Answer(status=302, headers={"Location": f"{self.at(inside, 'inside.example')}/b"})
        inside.answers["/b"] = Answer(b"image")
        assert fetch(Boundary(), f"{self.at(inside, 'inside.example')}/a").data == b"image"

    def test_below_allowed_prefixes_names_mean_public_addresses(self, web: WebServer, inside: WebServer) -> None:
        web.answers["/in/a"] = inside.answers["/in/a"] = Answer(b"image")
        for server, host, private_hosts, is_read in (
            (inside, "inside.example", (), False),
            (inside, "inside.example", ("inside.example",), True),
            (inside, "127.0.0.2", (), True),
            (web, "public.example", (), True),
        ):
            place = self.at(server, host)
            result = fetch(Boundary((place,), private_hosts), f"{place}/in/a")
            if is_read:
                assert result.data == b"image"
            else:
                assert_refused(result, "private_hosts")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("168.63.129.16", False),
        ("::ffff:168.63.129.16", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("no address", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize("status", [301, 302, 307])
def test_an_s3_server_cannot_send_the_client_elsewhere(web: WebServer, other: WebServer, status: int) -> None:
    body = b"<Error><Code>PermanentRedirect</Code><Endpoint>" + other.url.encode() + b"</Endpoint></Error>"
    headers = {"Location": f"{other.url}/secret.jpg", "x-amz-bucket-region": "eu-west-1"}
    web.answers["/b/secret.jpg"] = web.answers["/b"] = Answer(body, status=status, headers=headers)
    store = Store.model_validate({"endpoint_url": web.url, "options": {"key": "any", "secret": "any"}})
    (result,) = Fetcher(store, patience_s=30).fetch(rows("s3://b/secret.jpg"))
    assert result.error_code == ErrorCode.FETCH_FAILED
    assert other.seen == []
