"""Stores: settings and secrets, what errors mean, atomic writes, fresh listings, one-line complaints."""

import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from fakescan.storage.errors import classify, is_transient
from fakescan.storage.objects import list_names, put_atomic, read_bytes
from fakescan.storage.preflight import check_readable, check_writable
from fakescan.storage.store import Store
from fakescan.storage.url import file_path, redact, redact_text, split_bucket
from fakevlm.errors import ErrorCode, UserError
from tests.conftest import Bucket, new_bucket
from tests.storage_server import SeaweedServer, free_ports

pytestmark = pytest.mark.unit


def store_with(**options: object) -> Store:
    return Store.model_validate({"options": options})


def s3_error(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Get"
    )


class TestStore:
    def test_shows_no_secret(self) -> None:
        store = store_with(key="AKIA", secret="hush", client_kwargs={"aws_session_token": "hush"})
        for shown in (repr(store), str(store), store.model_dump_json(), str(store.model_dump())):
            assert "hush" not in shown
            assert "AKIA" not in shown

    def test_pickles_with_its_secrets(self) -> None:
        store = pickle.loads(pickle.dumps(store_with(secret="hush")))
        assert store.options["secret"].get_secret_value() == "hush"

    def test_env_reference_is_stored_as_such_and_resolved_on_demand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_SECRET", "hush")
        store = store_with(secret="env:MY_SECRET", client_kwargs={"aws_session_token": "env:MY_SECRET"})
        assert json.loads(store.model_dump_json())["options"]["secret"] == "env:MY_SECRET"
        resolved = store.resolved()
        assert resolved.options["secret"].get_secret_value() == "hush"
        assert resolved.options["client_kwargs"].get_secret_value() == {"aws_session_token": "hush"}
        monkeypatch.delenv("MY_SECRET")
        assert resolved.resolved() == resolved  # as on a worker, which lacks the variable

    def test_names_the_variable_that_is_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NOT_THERE", raising=False)
        with pytest.raises(UserError, match=r"secret.*NOT_THERE"):
            store_with(secret="env:NOT_THERE").resolved()

    def test_hidden_secret_read_back_is_refused(self) -> None:
        again = Store.model_validate_json(store_with(secret="hush").model_dump_json())
        with pytest.raises(UserError, match="secret"):
            again.resolved()

    def test_unknown_setting_is_refused(self) -> None:
        with pytest.raises(ValueError, match="endpoint"):
            Store.model_validate({"endpoint": "http://x"})

    def test_two_stores_in_one_process(self, s3_bucket: Bucket, own_s3: SeaweedServer) -> None:
        other = new_bucket(own_s3)
        put_atomic(*s3_bucket.store.filesystem(f"{s3_bucket.url}/a"), b"here")
        put_atomic(*other.store.filesystem(f"{other.url}/a"), b"there")
        assert read_bytes(*s3_bucket.store.filesystem(f"{s3_bucket.url}/a")) == b"here"
        assert read_bytes(*other.store.filesystem(f"{other.url}/a")) == b"there"

    def test_threads_share_one_filesystem(self, s3_bucket: Bucket) -> None:
        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(lambda _: id(s3_bucket.store.filesystem(s3_bucket.url)[0]), range(8)))
        assert len(found) == 1


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://h/p.jpg?X-Amz-Signature=abc&X-Amz-Credential=def#f", "https://h/p.jpg"),
        ("https://user:hush@h:8080/p?q", "https://h:8080/p"),
        ("HTTPS://h/p?q=1", "https://h/p"),
        ("https://h/p?u=a::/abc&sig=abc", "https://h/p"),
        ("http://[::1]:80/p?sig=abc", "http://[::1]:80/p"),
        ("http://[broken/p?sig=abc", "http://…"),
        ("tar://a/b.jpg::https://h/t.tar?sig=abc", "tar://a/b.jpg::https://h/t.tar"),
        ("az://c/b.jpg?sv=1&sig=abc", "az://c/b.jpg"),
        ("s3://b/what?.jpg", "s3://b/what?.jpg"),
        ("s3://b/a@b#c%20d", "s3://b/a@b#c%20d"),
        ("/data/a?b.jpg", "/data/a?b.jpg"),
    ],
)
def test_redact(uri: str, shown: str) -> None:
    assert redact(uri) == shown


def test_redact_text_finds_urls_in_messages_of_others() -> None:
    text = "Cannot connect to\n'https://h/p?X-Amz-Signature=abc', url=http://k:s@h/q?sig=abc>"
    assert redact_text(text) == "Cannot connect to 'https://h/p', url=http://h/q>"


@pytest.mark.parametrize(
    ("error", "code", "transient"),
    [
        (s3_error("NoSuchKey", 404), "not_found", False),
        (s3_error("NoSuchBucket", 404), "not_found", False),
        (s3_error("AccessDenied", 403), "denied", False),
        (s3_error("InvalidAccessKeyId", 403), "denied", False),
        (s3_error("PreconditionFailed", 412), "changed", False),
        (s3_error("InvalidRange", 416), "changed", False),
        (s3_error("SlowDown", 503), "fetch_failed", True),
        (s3_error("InternalError", 500), "fetch_failed", True),
        (s3_error("InvalidRequest", 400), "fetch_failed", False),
        (NoCredentialsError(), "denied", False),
        (EndpointConnectionError(endpoint_url="http://h?sig=abc"), "fetch_failed", True),
        (FileNotFoundError(2, "No such file or directory"), "not_found", False),
        (PermissionError(13, "Permission denied"), "denied", False),
        (IsADirectoryError(21, "Is a directory"), "not_found", False),
        (OSError(40, "Too many levels of symbolic links"), "not_found", False),
        (OSError(5, "Input/output error"), "fetch_failed", True),
        (TimeoutError(), "fetch_failed", True),
        (ConnectionResetError(104, "reset"), "fetch_failed", True),
        (aiohttp.ClientPayloadError("short"), "fetch_failed", True),
        (aiohttp.InvalidURL("x"), "fetch_failed", False),
        (UserError("unknown scheme"), "fetch_failed", False),
    ],
)
def test_classify(error: Exception, code: str, transient: bool) -> None:
    found, message = classify(error)
    assert found == ErrorCode(code)
    assert "\n" not in message
    assert "abc" not in message
    assert is_transient(error) is transient


def test_classify_looks_through_the_error_that_fsspec_makes_of_it() -> None:
    error = OSError(16, "Please reduce your request rate.")
    error.__cause__ = s3_error("SlowDown", 503)
    assert is_transient(error)
    assert classify(error) == (ErrorCode.FETCH_FAILED, "SlowDown: why")


def test_local_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_path("a b%20#?.jpg") == f"{tmp_path}/a b%20#?.jpg"
    assert file_path("file:///x/a%20b%3F.jpg") == "/x/a b?.jpg"


def test_s3_keys_are_literal() -> None:
    assert split_bucket("s3://b/a?b#c%20d/") == ("b", "a?b#c%20d/")
    assert split_bucket("s3://b") == ("b", "")
    assert split_bucket("arn:aws:s3:eu-west-1:1:accesspoint/name/k/x") == (
        "arn:aws:s3:eu-west-1:1:accesspoint/name",
        "k/x",
    )


@pytest.fixture(params=["file", "s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Store]:
    """A folder in each kind of store that can be written."""
    if request.param == "s3":
        bucket = request.getfixturevalue("s3_bucket")
        return f"{bucket.url}/run", bucket.store
    return (f"{tmp_path}/run" if request.param == "file" else f"memory://{tmp_path.name}/run"), Store()


class TestPutAtomic:
    def test_writes_and_replaces(self, place: tuple[str, Store]) -> None:
        url, store = place
        fs, path = store.filesystem(f"{url}/sub/a+b ü#?%20.parquet")
        put_atomic(fs, path, b"one")
        put_atomic(fs, path, b"three")
        assert read_bytes(fs, path) == b"three"
        assert list_names(*store.filesystem(f"{url}/sub")) == [("a+b ü#?%20.parquet", 5)]

    def test_exclusive_lets_one_of_many_win(self, place: tuple[str, Store]) -> None:
        url, store = place
        fs, path = store.filesystem(f"{url}/lease")

        def claim(name: int) -> int | None:
            try:
                put_atomic(fs, path, b"%d" % name, exclusive=True)
            except FileExistsError:
                return None
            return name

        with ThreadPoolExecutor(8) as pool:
            winners = [name for name in pool.map(claim, range(8)) if name is not None]
        assert len(winners) == 1
        assert read_bytes(fs, path) == b"%d" % winners[0]
        with pytest.raises(FileExistsError):
            put_atomic(fs, path, b"%d" % winners[0], exclusive=True)

    def test_outlasts_a_restart_of_the_server(self, own_s3: SeaweedServer) -> None:
        bucket = new_bucket(own_s3)
        fs, path = bucket.store.filesystem(f"{bucket.url}/a")
        put_atomic(fs, path, b"one")
        own_s3.kill()
        back = threading.Timer(1.0, own_s3.start)
        back.start()
        put_atomic(fs, path, b"two")
        back.join()
        assert read_bytes(fs, path) == b"two"


class TestListNames:
    def test_is_fresh_and_flat(self, place: tuple[str, Store]) -> None:
        url, store = place
        fs, path = store.filesystem(url)
        assert list_names(fs, path) == []
        put_atomic(fs, f"{path}/b", b"22")
        assert list_names(fs, path) == [("b", 2)]
        put_atomic(fs, f"{path}/a", b"1")
        put_atomic(fs, f"{path}/folder/c", b"1")
        put_atomic(fs, f"{path}2/d", b"1")
        assert list_names(fs, path) == [("a", 1), ("b", 2)]
        fs.rm_file(f"{path}/a")
        assert list_names(fs, path) == [("b", 2)]

    def test_more_than_one_page(self, s3_bucket: Bucket) -> None:
        names = [f"part-{number:05d}" for number in range(1_100)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: s3_bucket.put(f"run/{name}", b"x"), names))
        fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/run")
        assert [name for name, _ in list_names(fs, path)] == names


def wrong(server: SeaweedServer, **changes: object) -> Store:
    plain = {"endpoint_url": server.endpoint_url, "options": {"key": server.access_key, "secret": server.secret_key}}
    return Store.model_validate({**plain, **changes})


class TestComplaints:
    @pytest.mark.parametrize("check", [check_readable, check_writable])
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"options": {"key": "nobody", "secret": "x"}}, "wrong or expired credentials"),
            ({"options": {"key": SeaweedServer.access_key, "secret": "x"}}, "wrong or expired credentials"),
            ({"anon": True, "options": {}}, "access denied"),
            ({"endpoint_url": f"http://127.0.0.1:{free_ports(1)[0]}"}, "cannot reach http://127.0.0.1"),
            ({"options": {}, "profile": "no-such-profile"}, "no AWS profile named no-such-profile"),
        ],
    )
    def test_one_line_about_settings(
        self, s3_bucket: Bucket, s3: SeaweedServer, check: object, changes: dict[str, object], words: str
    ) -> None:
        assert callable(check)
        with pytest.raises(UserError, match=words) as caught:
            check(s3_bucket.url, wrong(s3, **changes))
        assert "\n" not in str(caught.value)
        assert s3_bucket.url in str(caught.value)

    def test_missing_credentials(self, s3: SeaweedServer, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with pytest.raises(UserError, match="no credentials found"):
            check_readable(s3_bucket.url, wrong(s3, options={}))

    @pytest.mark.parametrize("check", [check_readable, check_writable])
    def test_missing_bucket(self, s3: SeaweedServer, check: object) -> None:
        assert callable(check)
        with pytest.raises(UserError, match="no such bucket: nowhere"):
            check("s3://nowhere/prefix", s3.store)

    @pytest.mark.parametrize("check", [check_readable, check_writable])
    @pytest.mark.parametrize(("url", "words"), [("foo://x/y", "unknown scheme foo"), ("s3://", "names no bucket")])
    def test_addresses(self, check: object, url: str, words: str) -> None:
        assert callable(check)
        with pytest.raises(UserError, match=words):
            check(url, Store())

    def test_local(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="no such file or folder"):
            check_readable(f"{tmp_path}/none", Store())
        with pytest.raises(UserError, match="file is in the place of the folder"):
            check_writable(f"{tmp_path}/file", Store())
        with pytest.raises(UserError, match="cannot write to /proc/fakescan"):
            check_writable("/proc/fakescan", Store())
        with pytest.raises(UserError, match="read-only"):
            check_writable("https://h/run?sig=1", Store())

    def test_good_places_pass_and_are_left_clean(self, place: tuple[str, Store]) -> None:
        url, store = place
        check_writable(url, store)
        check_readable(url, store)
        assert list_names(*store.filesystem(url)) == []
