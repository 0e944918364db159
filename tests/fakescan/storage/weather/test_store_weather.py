"""Faults of a real S3 server as a whole, and of single objects in it: no row is lost to the first, the second end."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.sources.manifest import MANIFEST_SCHEMA
from fakescan.storage.store import Store
from fakescan.storage.weather import trouble
from fakescan.storage.weather.trouble import StoreAwayError
from fakescan.storage.weather.waits import WAITS, Wait
from fakevlm.errors import ErrorCode
from tests.conftest import Bucket, new_bucket
from tests.faulty_s3 import FaultyS3, at_random
from tests.storage_server import SeaweedServer
from tests.web_server import Answer, WebServer

pytestmark = [pytest.mark.unit, pytest.mark.timeout(120)]

DATA = b"x" * 1000


@pytest.fixture
def faulty(s3: SeaweedServer) -> Iterator[FaultyS3]:
    with FaultyS3(s3.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3_bucket: Bucket, faulty: FaultyS3) -> Bucket:
    """A bucket behind the proxy, with 24 objects."""
    for index in range(24):
        s3_bucket.put(f"{index:02}", DATA)
    store = Store.model_validate(
        {**s3_bucket.store.model_dump(exclude={"options"}), "options": _plain(s3_bucket.store)}
        | {"endpoint_url": faulty.endpoint_url}
    )
    return Bucket(s3_bucket.url, store, s3_bucket.name)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less time until an object is given up."""
    monkeypatch.setattr(trouble, "_MIN_SECONDS", {})
    monkeypatch.setattr(trouble, "_OTHER_MIN_SECONDS", 0.0)
    monkeypatch.setattr(trouble, "_MAX_PAUSE_S", 0.2)
    monkeypatch.setattr(trouble, "_FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(trouble, "_SAY_S", 0.2)


def _plain(store: Store) -> dict[str, object]:
    return {name: secret.get_secret_value() for name, secret in store.options.items()}


def rows(*uris: str) -> pa.Table:
    return pa.Table.from_pylist([{"row_id": index, "uri": uri} for index, uri in enumerate(uris)], MANIFEST_SCHEMA)


def fetcher(store: Store, patience_s: float = 60.0, timeout_s: float = 10.0) -> Fetcher:
    return Fetcher(store, patience_s=patience_s, timeout_s=timeout_s)


def all_of(bucket: Bucket) -> pa.Table:
    return rows(*(f"{bucket.url}/{index:02}" for index in range(24)))


def codes(results: list[Fetched]) -> set[ErrorCode | None]:
    return {result.error_code for result in results}


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (500, "InternalError")],
)
def test_nine_requests_of_ten_fail_and_no_object_is_lost(
    bucket: Bucket, faulty: FaultyS3, status: int, code: str
) -> None:
    faulty.fault = at_random(0.9, status, code)
    assert codes(fetcher(bucket.store).fetch(all_of(bucket))) == {None}
    assert faulty.answers[status] > 80


def test_throttled_requests_come_one_by_one_and_recover(bucket: Bucket, faulty: FaultyS3) -> None:
    reader = Fetcher(bucket.store, concurrency=8, patience_s=60.0)

    def at_once() -> int:
        """Requests in flight while all is well."""
        faulty.delay_s, faulty.most_at_once = 0.3, 0
        assert codes(reader.fetch(all_of(bucket).slice(0, 8))) == {None}
        faulty.delay_s = 0.0
        return faulty.most_at_once

    assert at_once() == 8
    never = threading.Event()
    faulty.fault = lambda method, path: (503, "SlowDown")
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(reader.fetch, all_of(bucket))
        never.wait(1.0)
        with faulty.lock:
            faulty.most_at_once, before = faulty.at_once, faulty.answers[503]
        never.wait(1.0)
        most, asked = faulty.most_at_once, faulty.answers[503] - before
        faulty.fault = lambda method, path: None
        assert codes(fetched.result()) == {None}
    assert most <= 2  # one, and a probe
    assert 0 < asked < 60
    for _ in range(6):
        assert codes(reader.fetch(all_of(bucket))) == {None}
    assert at_once() == 8


def test_retry_after_is_honoured(bucket: Bucket, faulty: FaultyS3) -> None:
    faulty.headers = {"Retry-After": "2"}
    asked: list[float] = []

    def once(method: str, path: str) -> tuple[int, str] | None:
        asked.append(time.monotonic())
        return (503, "SlowDown") if len(asked) == 1 else None

    faulty.fault = once
    assert codes(fetcher(bucket.store).fetch(rows(f"{bucket.url}/00"))) == {None}
    assert asked[1] - asked[0] >= 1.9


@pytest.mark.parametrize("status", [500, 503])
def test_an_object_that_always_fails_is_one_row(bucket: Bucket, faulty: FaultyS3, status: int) -> None:
    faulty.fault = lambda method, path: (status, "InternalError") if path.startswith(f"/{bucket.name}/07") else None
    results = fetcher(bucket.store).fetch(all_of(bucket))
    assert results[7].error_code is ErrorCode.FETCH_FAILED
    assert codes(results[:7] + results[8:]) == {None}
    last = fetcher(bucket.store).fetch(rows(f"{bucket.url}/07"))  # alone, when nothing else is asked
    assert last[0].error_code is ErrorCode.FETCH_FAILED
    assert faulty.paths[f"/{bucket.name}/07"] < 80


def test_what_is_the_objects_fault_is_a_row_at_once(bucket: Bucket, faulty: FaultyS3) -> None:
    faulty.fault = lambda method, path: (403, "AccessDenied") if path.startswith(f"/{bucket.name}/07") else None
    missing, denied, sound = fetcher(bucket.store).fetch(
        rows(f"{bucket.url}/none", f"{bucket.url}/07", f"{bucket.url}/08")
    )
    assert (missing.error_code, denied.error_code, sound.error_code) == ("not_found", "denied", None)
    assert faulty.paths[f"/{bucket.name}/07"] == 1


def test_a_refusal_before_anything_was_read_is_a_row_at_once(bucket: Bucket, faulty: FaultyS3) -> None:
    """That the store knows of another object that it is not there does not say that access was ever granted."""
    faulty.fault = lambda method, path: (403, "AccessDenied") if path.startswith(f"/{bucket.name}/07") else None
    reader = fetcher(bucket.store)
    for name, code in (("none", "not_found"), ("07", "denied")):
        (result,) = reader.fetch(rows(f"{bucket.url}/{name}"))
        assert result.error_code == code
    assert faulty.paths[f"/{bucket.name}/07"] == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ExpiredToken"),
        (403, "InvalidAccessKeyId"),
        (403, "AccessDenied"),  # to all that was read a moment ago
        (500, "InternalError"),
        (507, "InsufficientStorage"),
    ],
)
def test_a_fault_of_the_whole_store_is_waited_out_and_said(
    bucket: Bucket, faulty: FaultyS3, status: int, code: str
) -> None:
    reader = fetcher(bucket.store)
    assert codes(reader.fetch(all_of(bucket))) == {None}
    said: list[Wait] = []

    def hear(waits: list[Wait]) -> None:
        """The store is mended as soon as it is said that it is waited for."""
        said.extend(waits)
        faulty.fault = lambda method, path: None

    WAITS.tell(hear)
    faulty.fault = lambda method, path: (status, code)
    try:
        assert codes(reader.fetch(all_of(bucket))) == {None}
    finally:
        WAITS.tell(None)
    assert str(said[0]).startswith(f"waiting for the store: {bucket.url}: {code}")
    assert WAITS.current() == []


def test_patience_ends_with_the_store_named_and_no_row(bucket: Bucket, faulty: FaultyS3) -> None:
    faulty.fault = lambda method, path: (503, "SlowDown")
    started = time.monotonic()
    with pytest.raises(StoreAwayError, match=f"waited for the store for .*: {bucket.url}: SlowDown.*resumes"):
        fetcher(bucket.store, patience_s=1.0).fetch(all_of(bucket))
    assert time.monotonic() - started < 10
    assert WAITS.current() == []
    faulty.fault = lambda method, path: None
    assert codes(fetcher(bucket.store).fetch(all_of(bucket))) == {None}


def test_a_server_that_is_gone_and_comes_back(own_s3: SeaweedServer) -> None:
    bucket = new_bucket(own_s3)
    for index in range(24):
        bucket.put(f"{index:02}", DATA)
    reader = fetcher(bucket.store)
    own_s3.kill()
    back = threading.Timer(1.0, own_s3.start)
    back.start()
    assert codes(reader.fetch(all_of(bucket))) == {None}
    back.join()


class TestWeb:
    @pytest.fixture
    def alive(self, web: WebServer) -> str:
        web.answers["/a"] = Answer(DATA)
        return f"{web.url}/a"

    def test_dead_hosts_cost_rows_and_little_time(self, alive: str) -> None:
        dead = [f"http://127.0.0.1:{port}/a.jpg" for port in range(1, 9)] * 5
        unknown = [f"http://no-such-host-{index}.invalid/a.jpg" for index in range(5)]
        started = time.monotonic()
        results = fetcher(Store()).fetch(rows(alive, *dead, *unknown, alive))
        assert [result.error_code for result in results] == [None, *["fetch_failed"] * 45, None]
        assert time.monotonic() - started < 30

    def test_a_list_of_dead_links_alone_ends(self) -> None:
        of_its_own = Store.model_validate({"options": {"headers": {"X-Test": "dead links"}}})  # nothing has answered it
        results = fetcher(of_its_own).fetch(rows(*(f"http://127.0.0.1:{port}/a.jpg" for port in range(1, 40))))
        assert codes(results) == {ErrorCode.FETCH_FAILED}

    def test_a_page_that_is_broken_is_a_row(self, web: WebServer, alive: str) -> None:
        web.answers["/b"] = Answer(status=500)
        broken, sound = fetcher(Store()).fetch(rows(f"{web.url}/b", alive))
        assert (broken.error_code, sound.error_code) == ("fetch_failed", None)

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_host_that_throttles_loses_no_row(self, web: WebServer, alive: str, status: int) -> None:
        draw = at_random(0.8, status, "")
        web.answers["/a"] = lambda seen: Answer(status=status) if draw("GET", "") else Answer(DATA)
        assert codes(fetcher(Store()).fetch(rows(*[alive] * 60))) <= {None}

    def test_the_only_host_is_waited_for(self, web: WebServer, alive: str) -> None:
        reader = fetcher(Store())
        assert codes(reader.fetch(rows(alive))) == {None}
        web.answers["/a"] = Answer(status=503)
        threading.Timer(1.0, lambda: web.answers.update({"/a": Answer(DATA)})).start()
        assert codes(reader.fetch(rows(*[alive] * 20))) == {None}
