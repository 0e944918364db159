"""Credentials that are replaced while objects are read: the clients of the process read them again."""

import threading
from pathlib import Path

import pytest

from fakescan.storage.objects import list_names, put_atomic, read_bytes
from fakescan.storage.store import Store
from tests.conftest import new_bucket
from tests.fakescan.storage.weather.test_store_weather import DATA, all_of, codes, fetcher
from tests.storage_server import SeaweedServer

pytestmark = [pytest.mark.unit, pytest.mark.timeout(120)]


def test_credentials_that_are_replaced_are_read_again(
    own_s3: SeaweedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Static ones, in the file that AWS's own tools read."""
    file = tmp_path / "credentials"

    def write() -> None:
        lines = ["[audit]", f"aws_access_key_id = {own_s3.access_key}", f"aws_secret_access_key = {own_s3.secret_key}"]
        file.write_text("\n".join(lines))

    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    write()
    bucket = new_bucket(own_s3)
    for index in range(24):
        bucket.put(f"{index:02}", DATA)
    store = Store(endpoint_url=own_s3.endpoint_url, region="us-east-1", profile="audit")
    reader = fetcher(store)
    table = all_of(bucket)
    assert codes(reader.fetch(table)) == {None}
    own_s3.kill()
    own_s3.access_key, own_s3.secret_key = "another-key", "another-secret"
    own_s3.start()
    replaced = threading.Timer(2.0, write)
    replaced.start()
    assert codes(reader.fetch(table)) == {None}
    replaced.join()


def test_parts_and_listings_go_on_with_new_credentials(
    own_s3: SeaweedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written and listed, through a file system that others hold already."""
    file = tmp_path / "credentials"

    def write() -> None:
        lines = ["[audit]", f"aws_access_key_id = {own_s3.access_key}", f"aws_secret_access_key = {own_s3.secret_key}"]
        file.write_text("\n".join(lines))

    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    write()
    bucket = new_bucket(own_s3)
    store = Store(endpoint_url=own_s3.endpoint_url, region="us-east-1", profile="audit")
    filesystem, path = store.filesystem(f"{bucket.url}/run")
    put_atomic(filesystem, f"{path}/a", b"a")
    own_s3.kill()
    own_s3.access_key, own_s3.secret_key = "another-key", "another-secret"
    own_s3.start()
    replaced = threading.Timer(2.0, write)
    replaced.start()
    put_atomic(filesystem, f"{path}/b", b"b")
    put_atomic(filesystem, f"{path}/c", b"c", exclusive=True)
    with pytest.raises(FileExistsError):
        put_atomic(filesystem, f"{path}/b", b"other", exclusive=True)
    assert [name for name, _ in list_names(filesystem, path)] == ["a", "b", "c"]
    assert read_bytes(filesystem, f"{path}/b") == b"b"
    replaced.join()
