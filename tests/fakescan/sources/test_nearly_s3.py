"""Servers that are nearly S3: every object is listed and read, or says why it is not."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pytest

from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.sources.manifest import conform
from fakescan.sources.source import Source, open_source
from fakescan.storage.objects import list_names
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode, UserError
from tests.nearly_s3 import NearlyS3

pytestmark = pytest.mark.unit

OBJECTS = {
    f"in/{folder}/{number}.jpg": b"%s%d" % (folder.encode(), number) * 500 for folder in "ab" for number in range(5)
}


@contextmanager
def serving(*habits: str, objects: dict[str, bytes] = OBJECTS) -> Iterator[NearlyS3]:
    with NearlyS3(dict(objects), *habits) as server:
        yield server


def read(store: Store) -> tuple[Source, pa.Table]:
    source = open_source("s3://b/in", store)
    return source, pa.concat_tables(source)


def fetched(table: pa.Table, store: Store, **settings: int) -> list[Fetched]:
    return Fetcher(store, attempts=1, **settings).fetch(conform(table))


@pytest.mark.parametrize(
    "habits",
    [
        (),
        ("no etag",),
        ("no size",),
        ("no etag", "no size", "small pages"),
        ("small pages",),
        ("small pages", "no token"),
        ("small pages", "first version"),
        ("first version", "no etag"),
        ("own spelling",),
        ("no length",),
        ("packs",),
        ("own spelling", "no length", "small pages", "no token"),
    ],
    ids=", ".join,
)
def test_every_object_is_listed_and_read(habits: tuple[str, ...]) -> None:
    with serving(*habits) as server:
        source, table = read(server.store)
        assert sorted(table["uri"].to_pylist()) == [f"s3://b/{key}" for key in OBJECTS]
        assert source.left_out.seen == len(OBJECTS)
        results = fetched(table, server.store)
        assert [result.error_message for result in results] == [None] * len(OBJECTS)
        found = dict(zip(table["uri"].to_pylist(), results, strict=True))
        assert all(found[f"s3://b/{key}"].data == data for key, data in OBJECTS.items())


@pytest.mark.parametrize("habits", [(), ("own spelling",), ("own spelling", "no length")], ids=", ".join)
def test_an_object_that_was_replaced_is_not_taken_for_the_one_that_was_listed(habits: tuple[str, ...]) -> None:
    with serving(*habits) as server:
        _, table = read(server.store)
        server.objects["in/a/1.jpg"] = server.objects["in/a/1.jpg"][::-1]
        codes = {
            uri: result.error_code
            for uri, result in zip(table["uri"].to_pylist(), fetched(table, server.store), strict=True)
        }
    assert codes.pop("s3://b/in/a/1.jpg") is ErrorCode.CHANGED
    assert set(codes.values()) == {None}


def test_an_answer_of_unknown_length_has_a_bound() -> None:
    with serving("no length", "no size") as server:
        _, table = read(server.store)
        results = fetched(table, server.store, max_bytes=999)
    assert {result.error_code for result in results} == {ErrorCode.TOO_LARGE}


def test_parts_of_a_run_are_listed_by_such_servers_too() -> None:
    objects = {f"run/parts/part-{number:08d}.parquet": b"x" for number in range(5)}
    for habits in ((), ("small pages", "no token"), ("small pages", "first version"), ("no size",)):
        with serving(*habits, objects=objects) as server:
            fs, path = server.store.filesystem("s3://b/run/parts")
            assert [f"run/parts/{name}" for name, _ in list_names(fs, path)] == sorted(objects)


@pytest.mark.parametrize("habits", [("no token",), ("first version",), ()], ids=lambda habits: ", ".join(habits))
def test_a_listing_that_never_ends_is_refused(habits: tuple[str, ...]) -> None:
    with (
        serving("starts anew", "small pages", *habits) as server,
        pytest.raises(UserError, match="begins it again"),
    ):
        read(server.store)
