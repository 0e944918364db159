"""Conditional PUTs: of several writers that saw one version of an object exactly one succeeds."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from fakescan.storage import conditional_put
from fakescan.storage.conditional_put import ReplacedError, read_version, remove, replace
from tests.conftest import Bucket

pytestmark = pytest.mark.unit

WRITERS = 6


@pytest.fixture(params=["local", "s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[AbstractFileSystem, str]]:
    """A file system and a path in it; the last one knows no conditions."""
    if request.param == "local":
        yield LocalFileSystem(), str(tmp_path / "object")
    elif request.param == "s3":
        bucket: Bucket = request.getfixturevalue("s3_bucket")
        fs, path = bucket.store.filesystem(f"{bucket.url}/folder/a key+with %signs")
        yield fs, path
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conditional_put, "SETTLE_S", 0.3)
            yield MemoryFileSystem(skip_instance_cache=True), f"/{os.urandom(4).hex()}/object"


def seen(fs: AbstractFileSystem, path: str) -> str:
    found = read_version(fs, path)
    assert found is not None
    return found.version


def test_what_was_seen_is_replaced_and_what_was_not_seen_is_left_alone(place: tuple[AbstractFileSystem, str]) -> None:
    fs, path = place
    fs.pipe_file(path, b"one")
    first = seen(fs, path)
    second = replace(fs, path, b"two", first)
    assert read_version(fs, path) == (b"two", second)
    with pytest.raises(ReplacedError):
        replace(fs, path, b"three", first)
    assert fs.cat_file(path) == b"two"
    assert replace(fs, path, b"three", second) == seen(fs, path)


def test_an_object_that_is_gone_is_not_written(place: tuple[AbstractFileSystem, str]) -> None:
    fs, path = place
    assert read_version(fs, path) is None
    fs.pipe_file(path, b"one")
    version = seen(fs, path)
    fs.rm_file(path)
    with pytest.raises(ReplacedError):
        replace(fs, path, b"two", version)
    assert read_version(fs, path) is None
    remove(fs, path, lambda _: True)


def test_one_of_many_writers_wins(place: tuple[AbstractFileSystem, str]) -> None:
    fs, path = place
    fs.pipe_file(path, b"first")
    version = seen(fs, path)
    start = threading.Barrier(WRITERS)
    won: list[bytes] = []

    def write(data: bytes) -> None:
        start.wait()
        try:
            replace(fs, path, data, version)
        except ReplacedError:
            return
        won.append(data)

    threads = [threading.Thread(target=write, args=[b"writer %d" % number]) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [fs.cat_file(path)]


def test_only_ones_own_object_is_removed_and_no_lock_is_left(tmp_path: Path) -> None:
    fs, path = LocalFileSystem(), tmp_path / "object"
    path.write_bytes(b"theirs")
    remove(fs, str(path), lambda data: data == b"ours")
    assert os.listdir(tmp_path) == ["object"]
    remove(fs, str(path), lambda data: data == b"theirs")
    assert os.listdir(tmp_path) == []


def test_a_server_without_conditional_puts_gets_the_weaker_way(
    s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seaweed knows them; what older servers answer is put in its mouth at the wire."""
    from botocore.exceptions import ClientError

    monkeypatch.setattr(conditional_put, "SETTLE_S", 0.1)
    fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/object")
    fs.pipe_file(path, b"one")
    version = seen(fs, path)
    single = conditional_put.without_retries(fs)
    call = single._call_s3

    async def old_server(method: str, *arguments: Any, **named: Any) -> Any:
        if "IfMatch" in named:
            answer = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
            raise ClientError(answer, "PutObject")
        return await call(method, *arguments, **named)

    monkeypatch.setattr(single, "_call_s3", old_server)
    replace(fs, path, b"two", version)
    with pytest.raises(ReplacedError):
        replace(fs, path, b"three", version)
    assert fs.cat_file(path) == b"two"
