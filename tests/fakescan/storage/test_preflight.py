"""Stores that do not answer, or something else that answers in their place: one line, soon, with what to set."""

import logging
import socket
import sys
import time
from collections.abc import Iterator

import adlfs  # noqa: F401 - importing the clients takes longer than the patience of these tests
import gcsfs  # noqa: F401
import pytest

from fakescan.sources.source import open_source
from fakescan.storage import preflight
from fakescan.storage.preflight import check_readable, check_writable, exists
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.silent_server import SilentServer
from tests.web_server import Answer, WebServer

pytestmark = pytest.mark.unit

SILENCE_S = 1.5
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "ANSWER_S", SILENCE_S)
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with SilentServer() as server:
        yield server


def azurite(address: str) -> Store:
    """As for the emulator, whose address is in the connection string."""
    account = f"AccountName=acc;AccountKey=YWJj;BlobEndpoint=http://{address}/acc;DefaultEndpointsProtocol=http;"
    return Store.model_validate({"options": {"connection_string": account}})


def s3(address: str) -> Store:
    return Store.model_validate(
        {"endpoint_url": f"http://{address}", "region": "us-east-1", "options": {"key": "k", "secret": "s"}}
    )


def gcs(address: str) -> Store:
    return Store(endpoint_url=f"http://{address}", anon=True)


PLACES = {
    "s3": ("s3://b/x", s3),
    "gs": ("gs://b/x", gcs),
    "az": ("az://b/x", azurite),
    "http": ("http://ADDRESS/list.csv", lambda _: Store()),
}


def refusal(call: object, *arguments: object) -> str:
    started = time.monotonic()
    assert callable(call)
    with pytest.raises(UserError) as caught:
        call(*arguments)
    # A client makes several attempts, on a machine that does other things.
    assert time.monotonic() - started < SILENCE_S + 5
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


@pytest.mark.parametrize("scheme", PLACES)
def test_a_silent_source(scheme: str, silent: SilentServer, capfd: pytest.CaptureFixture[str]) -> None:
    url, store = PLACES[scheme]
    url = url.replace("ADDRESS", silent.address)
    for _ in range(2):  # the first call of all may spend its time on imports
        message = refusal(check_readable, url, store(silent.address))
        assert message.startswith(f"cannot read {url}: no answer within")
        if silent.connections:
            break
    assert silent.connections
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_silent_output(scheme: str, silent: SilentServer) -> None:
    url, store = PLACES[scheme]
    message = refusal(check_writable, url, store(silent.address))
    assert message.startswith(f"cannot write to {url}: no answer within")


@pytest.mark.parametrize("pattern", ["s3://b/x*.jpg", "s3://b/{1,2}.tar", "s3://b/*"])
def test_a_silent_store_that_is_asked_for_a_pattern(pattern: str, silent: SilentServer) -> None:
    assert "no answer within" in refusal(open_source, pattern, s3(silent.address))
    assert "no answer within" in refusal(exists, pattern, s3(silent.address))


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_nobody_there(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    url, store = PLACES[scheme]
    for _ in range(2):  # the first call of all may spend its time on imports
        message = refusal(check_readable, url.replace("ADDRESS", address), store(address))
        if "no answer within" not in message:
            break
    assert f"cannot reach http://{address}" in message


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_login_page_in_the_place_of_a_store(scheme: str, web: WebServer) -> None:
    class Everywhere(dict[str, Answer]):
        def get(self, *_: object) -> Answer:
            return Answer(PAGE, headers={"Content-Type": "text/html"})

    web.answers = Everywhere()
    url, store = PLACES[scheme]
    message = refusal(check_readable, url, store(web.url.removeprefix("http://")))
    assert "<html" not in message.lower()


def test_azure_without_an_account() -> None:
    message = refusal(check_readable, "az://container/x", Store())
    assert "no storage account is named" in message
    assert "account_name and account_key" in message


@pytest.mark.parametrize("scheme", ["ftp", "sftp", "smb", "webhdfs", "github"])
@pytest.mark.parametrize("check", [check_readable, check_writable])
def test_stores_that_addresses_do_not_reach(
    scheme: str, check: object, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    message = refusal(check, f"{scheme}://127.0.0.1:9/x", Store())
    assert f"{scheme}://" in message
    assert "is not supported" in message or "not installed" in message
    assert "https://" in message or "requires" in message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("scheme", "extra"), [("gs", "gcs"), ("az", "azure")])
def test_a_client_that_is_not_installed(scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {"gs": "gcsfs", "az": "adlfs"}[scheme]
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    message = refusal(check_readable, f"{scheme}://b/x", Store(region="nowhere"))
    assert f"install fakescan[{extra}]" in message


def test_tls_where_none_is_spoken(web: WebServer) -> None:
    url = web.url.replace("http:", "https:")
    assert "does not speak TLS" in refusal(check_readable, f"{url}/list.csv", Store())
    store = Store.model_validate({"endpoint_url": url, "options": {"key": "k", "secret": "s"}})
    assert "does not speak TLS" in refusal(check_readable, "s3://b/x", store)


@pytest.mark.parametrize(
    "name", ["list.csv", "list.txt", "list.jsonl", "list.json", "list", "list.csv.gz", "list.parquet"]
)
def test_a_list_behind_a_login_page(name: str, web: WebServer) -> None:
    web.answers[f"/{name}"] = Answer(b"", 302, {"Location": "/login"})
    web.answers["/login"] = Answer(b"\n<!-- portal -->\n" + PAGE, headers={"Content-Type": "text/html"})

    def read() -> None:
        list(open_source(f"{web.url}/{name}", Store()))

    message = refusal(read)
    assert f"{web.url}/{name}" in message
    assert "web page" in message


def test_a_source_without_ranges_is_not_read_whole_to_find_out_that_it_is_there(web: WebServer) -> None:
    web.answers["/big.tar"] = Answer(b"x" * 2**20, headers={"Content-Length": str(2**40)}, length=False)
    check_readable(f"{web.url}/big.tar", Store())


def test_what_clients_would_print_is_logged_where_it_is_asked_for(silent: SilentServer) -> None:
    logger = logging.getLogger("gcsfs")
    refusal(check_readable, "gs://b/x", gcs(silent.address))
    assert not logger.isEnabledFor(logging.ERROR)
