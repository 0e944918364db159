"""Listing in ranges of keys: every object once, in one order, whatever keys are called and servers do."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakescan.sources.listers import list_process, ordered_listing
from fakescan.sources.listers.s3_lister import S3Lister
from fakescan.sources.listers.table_spool import TableSpool
from fakevlm.errors import UserError
from tests.conftest import Bucket, new_bucket
from tests.nearly_s3 import NearlyS3
from tests.storage_server import SeaweedServer

pytestmark = pytest.mark.unit

CHARACTERS = "ab019-./_ +%&<>'\"~^{}|=?#üé日\ue000\uffff🎈\t\x7f"


class Counted(S3Lister):
    """A lister that counts its requests."""

    requests = 0

    def _page(self, **arguments: Any) -> Any:
        self.requests += 1
        return super()._page(**arguments)


def lister(place: NearlyS3 | Bucket, prefix: str = "in", **options: Any) -> Counted:
    url = f"{place.url if isinstance(place, Bucket) else 's3://b'}/{prefix}".rstrip("/")
    options = {"page_keys": 10, "long_pages": 2, "processes": 0, **options}
    return Counted(place.store.filesystem(url)[0], url, place.store, **options)


def keys_of(found: S3Lister) -> list[str]:
    return [uri[len(found.base) :] for table in found.tables() for uri in table["uri"].to_pylist()]


def flat(kind: str, count: int, seed: int = 0) -> list[str]:
    """Names as buckets have them."""
    rng = random.Random(seed)
    names = {
        "hashes": lambda: f"{rng.getrandbits(128):032x}.jpg",
        "numbers": lambda: f"IMG_{rng.randrange(10**6):08}.jpg",
        "days": lambda: f"2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}T{rng.getrandbits(20):05x}.jpg",
        "last letter": lambda: "a" * 200 + chr(rng.randrange(0x30, 0x3000)),
        "crowded": lambda: rng.choice(["0", "1", "z"]) + ("7" * 30) + f"{rng.randrange(10**5):06}",
        "languages": lambda: "".join(rng.choice("日本語한국어абвüé🎈") for _ in range(rng.randrange(1, 7))),
    }
    found: set[str] = set()
    while len(found) < count:
        found.add(f"in/{names[kind]()}")
    return sorted(found)


@pytest.fixture(scope="module")
def plain_server() -> Iterator[NearlyS3]:
    """One server for many sets of objects: clients are costly to make."""
    with NearlyS3({}) as server:
        yield server


@pytest.fixture(scope="module")
def odd_bucket(s3: SeaweedServer) -> tuple[Bucket, list[str]]:
    """A bucket of a real server whose keys are unlike each other, and the keys."""
    bucket = new_bucket(s3)
    rng = random.Random(7)
    keys = {f"in/{kind}" for name in ("hashes", "numbers", "days", "languages") for kind in flat(name, 150)}
    keys |= {key for kind in ("hashes", "crowded") for key in flat(kind, 200)}
    while len(keys) < 1_600:
        name = "".join(rng.choice(CHARACTERS.replace("\uffff", "")) for _ in range(rng.randrange(1, 10)))
        if all(part.strip(".") for part in name.split("/")):  # no part of the server's own paths
            keys.add(f"in/{name}")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: bucket.put(key, b"x"), sorted(keys)))
    return bucket, sorted(keys)


class TestRanges:
    @pytest.mark.parametrize("kind", ["hashes", "numbers", "days", "last letter", "crowded", "languages"])
    def test_names_in_one_folder(self, kind: str, plain_server: NearlyS3) -> None:
        keys = flat(kind, 500)
        plain_server.objects, plain_server.requests = dict.fromkeys(keys, b"x"), []
        found = lister(plain_server)
        assert keys_of(found) == keys
        starts = [request for request in plain_server.requests if "start-after" in request]
        assert len(starts) > 10  # it was cut
        assert found.requests < 4 * len(keys) / 10

    @given(names=st.lists(st.text(CHARACTERS, min_size=1, max_size=8), min_size=1, max_size=60, unique=True))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def test_any_names(self, names: list[str], plain_server: NearlyS3) -> None:
        keys = [f"in/{name}" for name in names if not name.endswith("/")]
        plain_server.objects = dict.fromkeys(keys, b"x")
        once = keys_of(lister(plain_server, page_keys=3))
        assert sorted(once) == sorted(keys)
        assert keys_of(lister(plain_server, page_keys=3)) == once

    @pytest.mark.parametrize(
        "habits",
        [
            ("first version",),
            ("no token",),
            ("by folder",),
            ("ignores start",),
            ("no order",),
            ("no etag", "no size"),
        ],
        ids=", ".join,
    )
    def test_servers_of_other_habits(self, habits: tuple[str, ...]) -> None:
        keys = flat("days", 150) + [
            f"in/2026-{month}/{number}-{month}.jpg" for month in range(4) for number in range(5)
        ]
        keys += [f"in/2026-{month}-{number}/x.jpg" for month in range(4) for number in range(5)]
        with NearlyS3(dict.fromkeys(keys, b"x"), *habits) as server:
            once = keys_of(lister(server))
            assert sorted(once) == sorted(keys)
            assert keys_of(lister(server)) == once

    def test_a_server_that_loses_its_order_is_not_believed(self, plain_server: NearlyS3) -> None:
        plain_server.objects = dict.fromkeys(flat("hashes", 400), b"x")
        found = lister(plain_server)
        page = found._page

        def turned_round(**arguments: Any) -> Any:
            answer = page(**arguments)
            if arguments.get("StartAfter") and "MaxKeys" not in arguments:
                return replace(answer, objects=answer.objects._replace(keys=answer.objects.keys[::-1]))
            return answer

        found._page = turned_round  # type: ignore[method-assign]
        with pytest.raises(UserError, match="no order of their names"):
            keys_of(found)

    def test_a_real_server(self, odd_bucket: tuple[Bucket, list[str]]) -> None:
        bucket, keys = odd_bucket
        once = keys_of(lister(bucket, page_keys=20))
        assert sorted(once) == keys
        assert keys_of(lister(bucket, page_keys=20)) == once
        assert sorted(keys_of(lister(bucket, "", page_keys=50))) == keys

    @pytest.mark.parametrize("disk", [None, 0], ids=["a disk", "no room on the disk"])
    def test_tables_wait_on_the_disk(
        self, monkeypatch: pytest.MonkeyPatch, plain_server: NearlyS3, disk: int | None
    ) -> None:
        monkeypatch.setattr(ordered_listing, "MAX_BYTES", 0)
        monkeypatch.setattr(ordered_listing, "TableSpool", lambda: TableSpool(disk))
        keys = flat("numbers", 400)
        plain_server.objects = dict.fromkeys(keys, b"x")
        assert keys_of(lister(plain_server)) == keys

    def test_an_error_in_the_middle_is_raised(self, plain_server: NearlyS3) -> None:
        plain_server.objects = dict.fromkeys(flat("numbers", 400), b"x")
        found = lister(plain_server)
        page = found._page

        def failing(**arguments: Any) -> Any:
            if found.requests > 20:
                raise PermissionError("no")
            return page(**arguments)

        found._page = failing  # type: ignore[method-assign]
        with pytest.raises(PermissionError):
            keys_of(found)


class TestProcesses:
    @pytest.fixture(autouse=True)
    def _early(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(list_process, "MANY_PAGES", 3)

    @pytest.fixture
    def server(self) -> Iterator[NearlyS3]:
        with NearlyS3(dict.fromkeys(flat("hashes", 1_500), b"x")) as server:
            yield server

    def test_other_processes_list_the_same(self, server: NearlyS3, monkeypatch: pytest.MonkeyPatch) -> None:
        answered: list[bool] = []
        ask = list_process.ListProcesses.list_stretch

        def noted(self: Any, *arguments: Any) -> Any:
            stretch = ask(self, *arguments)
            answered.append(stretch is not None)
            return stretch

        monkeypatch.setattr(list_process.ListProcesses, "list_stretch", noted)
        assert keys_of(lister(server, processes=1, page_keys=3)) == sorted(server.objects)
        assert any(answered)
