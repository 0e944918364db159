"""Fetch: the right bytes, or the right reason, for every row, from every kind of store."""

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.sources.manifest import MANIFEST_SCHEMA
from fakescan.sources.source import open_source
from fakescan.storage.store import Store
from fakescan.storage.transport.base import version_of_entry
from fakevlm.errors import ErrorCode
from tests.conftest import Bucket, new_bucket
from tests.storage_server import SeaweedServer
from tests.web_server import Answer, Seen, WebServer

pytestmark = pytest.mark.unit


def rows(*entries: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{"row_id": index, **entry} for index, entry in enumerate(entries)], MANIFEST_SCHEMA)


def fetch(store: Store, *entries: dict[str, Any], **settings: Any) -> list[Fetched]:
    return Fetcher(store, **settings).fetch(rows(*entries))


def listed(source: str, store: Store, **options: Any) -> pa.Table:
    """The rows that a scan of `source` would fetch."""
    table = pa.concat_tables(open_source(source, store, **options))
    return table.add_column(0, MANIFEST_SCHEMA.field("row_id"), pa.array(range(table.num_rows)))


def assert_bytes(result: Fetched, data: bytes) -> None:
    assert (result.error_code, result.error_message) == (None, None)
    assert result.data == data
    assert result.num_bytes == len(data)
    assert result.sha256 == hashlib.sha256(data).hexdigest()


def assert_failed(result: Fetched, code: str, words: str = "") -> None:
    assert result.error_code == ErrorCode(code), result.error_message
    assert words in (result.error_message or "")
    assert (result.data, result.sha256) == (None, None)


class TestS3:
    KEYS = (
        *(
            "plain.jpg",
            "a b.jpg",
            "a+b.jpg",
            "a#b.jpg",
            "a?b.jpg",
            "a%20b.jpg",
            "a%zz.jpg",
            "ü漢🎈.png",
            "~!@$&'()*,;=:.jpg",
        ),
        *("a//b.jpg", "what?versionId=1.jpg", '"quoted".jpg', "back\\slash.jpg", "[x]{y}.jpg", "é.jpg"),
    )

    def test_any_key(self, s3_bucket: Bucket) -> None:
        for key in self.KEYS:
            s3_bucket.put(key, key.encode() * 1000)
        results = fetch(s3_bucket.store, *({"uri": f"{s3_bucket.url}/{key}"} for key in self.KEYS))
        for key, result in zip(self.KEYS, results, strict=True):
            assert_bytes(result, key.encode() * 1000)

    def test_results_are_in_row_order(self, s3_bucket: Bucket) -> None:
        sizes = [200_000, 1, 50_000, 3, 100_000, 7] * 10
        for index, size in enumerate(sizes):
            s3_bucket.put(str(index), bytes([index]) * size)
        entries = ({"uri": f"{s3_bucket.url}/{index}", "size": size} for index, size in enumerate(sizes))
        results = fetch(s3_bucket.store, *entries, concurrency=8)
        assert [(result.num_bytes, result.data and result.data[:1]) for result in results] == [
            (size, bytes([index])) for index, size in enumerate(sizes)
        ]

    def test_every_failure_is_its_code(self, s3_bucket: Bucket) -> None:
        for key in ("fine", "replaced", "grown", "deleted", "big", "zero"):
            s3_bucket.put(key, b"" if key == "zero" else key.encode() * 1000)
        table = listed(s3_bucket.url, s3_bucket.store, extensions=("*",))
        s3_bucket.put("replaced", b"REPLACED" * 1000)
        s3_bucket.put("grown", b"x")
        s3_bucket.call("delete_object", Key="deleted")
        s3_bucket.put("big", b"x" * 20_000)
        got = dict(zip(table["uri"].to_pylist(), Fetcher(s3_bucket.store, max_bytes=10_000).fetch(table), strict=True))
        got = {uri.rpartition("/")[2]: result for uri, result in got.items()}
        assert_bytes(got["fine"], b"fine" * 1000)
        assert_failed(got["replaced"], "changed")
        assert_failed(got["grown"], "changed")
        assert_failed(got["deleted"], "not_found", "NoSuchKey")
        assert_failed(got["big"], "changed")
        assert_failed(got["zero"], "empty")

    def test_without_a_listing_nothing_is_assumed(self, s3_bucket: Bucket) -> None:
        s3_bucket.put("big", b"x" * 20_000)
        s3_bucket.put("zero", b"")
        big, zero, none = fetch(
            s3_bucket.store, *({"uri": f"{s3_bucket.url}/{key}"} for key in ("big", "zero", "none")), max_bytes=10_000
        )
        assert_failed(big, "too_large", "20000")
        assert_failed(zero, "empty")
        assert_failed(none, "not_found")

    def test_too_large_in_the_manifest_is_not_asked_for(self) -> None:
        store = Store(endpoint_url="http://127.0.0.1:1")
        (result,) = fetch(store, {"uri": "s3://b/big", "size": 10_001}, max_bytes=10_000)
        assert_failed(result, "too_large")
        assert result.num_bytes == 10_001

    def test_credentials_and_buckets(self, s3: SeaweedServer, s3_bucket: Bucket) -> None:
        s3_bucket.put("a", b"a")
        for options in ({"key": "nobody", "secret": "x"}, {"key": s3.access_key, "secret": "wrong"}):
            store = Store.model_validate({"endpoint_url": s3.endpoint_url, "options": options})
            assert_failed(fetch(store, {"uri": f"{s3_bucket.url}/a"})[0], "denied")
        anonymous = Store(endpoint_url=s3.endpoint_url, anon=True)
        assert_failed(fetch(anonymous, {"uri": f"{s3_bucket.url}/a"})[0], "denied")
        assert_failed(fetch(s3.store, {"uri": "s3://nowhere/a"})[0], "not_found")

    def test_gzip_encoding_is_undone_and_a_false_one_ignored(self, s3_bucket: Bucket) -> None:
        s3_bucket.put("encoded.jpg", gzip.compress(b"image" * 1000), ContentEncoding="gzip")
        s3_bucket.put("false.jpg", b"image" * 1000, ContentEncoding="gzip")
        s3_bucket.put("archive.gz", gzip.compress(b"image"))
        table = listed(s3_bucket.url, s3_bucket.store, extensions=("*",))
        archive, encoded, false = Fetcher(s3_bucket.store).fetch(table)
        assert_bytes(encoded, b"image" * 1000)
        assert_bytes(false, b"image" * 1000)
        assert archive.data is not None
        assert gzip.decompress(archive.data) == b"image"

    def test_dying_server_costs_rows_and_nothing_more(self, own_s3: SeaweedServer) -> None:
        bucket = new_bucket(own_s3)
        for index in range(20):
            bucket.put(f"{index:02}", b"x" * 1000)
        table = listed(bucket.url, bucket.store, extensions=("*",))
        fetcher = Fetcher(bucket.store, attempts=2)
        assert all(result.data for result in fetcher.fetch(table))
        own_s3.kill()
        for result in fetcher.fetch(table):
            assert_failed(result, "fetch_failed", "(2 attempts)")
            assert str(own_s3.ports[3]) not in (result.sha256 or "")
        own_s3.start()
        assert [result.error_message for result in fetcher.fetch(table)] == [None] * 20

    def test_server_that_comes_back_in_time_costs_nothing(self, own_s3: SeaweedServer) -> None:
        bucket = new_bucket(own_s3)
        bucket.put("a", b"x" * 1000)
        table = listed(bucket.url, bucket.store, extensions=("*",))
        own_s3.kill()
        back = threading.Timer(0.5, own_s3.start)
        back.start()
        (result,) = Fetcher(bucket.store, attempts=8).fetch(table)
        back.join()
        assert_bytes(result, b"x" * 1000)

    def test_works_from_several_threads(self, s3_bucket: Bucket) -> None:
        for index in range(40):
            s3_bucket.put(f"{index:02}", bytes([index]) * 1000)
        table = listed(s3_bucket.url, s3_bucket.store, extensions=("*",))
        fetcher = pickle.loads(pickle.dumps(Fetcher(s3_bucket.store)))
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(lambda first: fetcher.fetch(table.slice(first, 10)), range(0, 40, 10)))
        assert [result.data[:1] for part in parts for result in part] == [bytes([index]) for index in range(40)]

    def test_process_ends_without_a_word(self, s3_bucket: Bucket) -> None:
        s3_bucket.put("a.jpg", b"a")
        code = (
            "import pickle, sys; from tests.fakescan.sources.test_fetch import *; "
            "store = pickle.load(sys.stdin.buffer); t = listed(sys.argv[1], store); "
            "print(Fetcher(store).fetch(t)[0].num_bytes)"
        )
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", code, s3_bucket.url],
            input=pickle.dumps(s3_bucket.store),
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=60,
        )
        assert (done.stdout.strip(), done.stderr) == (b"1", b"")


class TestWeb:
    def test_redirects_and_signed_queries(self, web: WebServer) -> None:
        signed = "/deep/a%20b+c.jpg?X-Amz-Credential=k%2F2026%2Fs3&X-Amz-Signature=a%2Bb~c"
        web.answers["/start"] = Answer(status=302, headers={"Location": signed})
        web.answers["/deep/a%20b+c.jpg"] = Answer(b"image")
        start, direct = fetch(Store(), {"uri": f"{web.url}/start"}, {"uri": web.url + signed})
        assert_bytes(start, b"image")
        assert_bytes(direct, b"image")
        assert [seen.target for seen in web.seen].count(signed) == 2

    def test_addresses_as_people_write_them(self, web: WebServer) -> None:
        web.answers["/a%20b/%C3%BC%25.jpg"] = Answer(b"image")
        (result,) = fetch(Store(), {"uri": f"{web.url}/a b/ü%.jpg#top"})
        assert_bytes(result, b"image")

    @pytest.mark.parametrize(
        ("status", "code"),
        [(404, "not_found"), (410, "not_found"), (403, "denied"), (401, "denied"), (400, "fetch_failed")],
    )
    def test_refusals_are_not_retried(self, web: WebServer, status: int, code: str) -> None:
        web.answers["/a"] = Answer(status=status)
        (result,) = fetch(Store(), {"uri": f"{web.url}/a?sig=secret"})
        assert_failed(result, code, str(status))
        assert "secret" not in str(result.error_message)
        assert len(web.seen) == 1

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_busy_servers_are_asked_again(self, web: WebServer, status: int) -> None:
        web.answers["/a"] = lambda _: Answer(status=status) if len(web.seen) < 3 else Answer(b"image")
        web.answers["/never"] = Answer(status=status)
        assert_bytes(fetch(Store(), {"uri": f"{web.url}/a"})[0], b"image")
        assert_failed(fetch(Store(), {"uri": f"{web.url}/never"}, attempts=2)[0], "fetch_failed", f"HTTP {status}")

    def test_no_content_length(self, web: WebServer) -> None:
        web.answers["/a"] = Answer(b"image" * 1000, length=False)
        web.answers["/big"] = Answer(b"x" * 2_000_000, length=False)
        a, big = fetch(Store(), {"uri": f"{web.url}/a"}, {"uri": f"{web.url}/big"}, max_bytes=10_000)
        assert_bytes(a, b"image" * 1000)
        assert_failed(big, "too_large")

    def test_too_large_by_its_header_is_not_downloaded(self, web: WebServer) -> None:
        body = Answer(b"x" * 50_000_000, cut=0, wait=None)
        web.answers["/big"] = body
        assert_failed(fetch(Store(), {"uri": f"{web.url}/big"}, max_bytes=10_000)[0], "too_large", "50000000")

    def test_cut_connection_is_no_image(self, web: WebServer) -> None:
        web.answers["/a"] = lambda _: Answer(b"image" * 1000, cut=1000 if len(web.seen) == 1 else None)
        web.answers["/b"] = Answer(b"image" * 1000, cut=1000)
        assert_bytes(fetch(Store(), {"uri": f"{web.url}/a"})[0], b"image" * 1000)
        assert_failed(fetch(Store(), {"uri": f"{web.url}/b"}, attempts=2)[0], "fetch_failed", "(2 attempts)")

    def test_silent_server_times_out(self, web: WebServer) -> None:
        web.answers["/a"] = Answer(b"image", wait=threading.Event())
        started = time.monotonic()
        assert_failed(
            fetch(Store(), {"uri": f"{web.url}/a"}, attempts=2, timeout_s=0.3)[0], "fetch_failed", "timed out"
        )
        assert time.monotonic() - started < 5

    def test_encodings(self, web: WebServer) -> None:
        image = b"image" * 1000
        bomb = gzip.compress(b"\0" * 50_000_000)
        for path, body, encoding in [
            ("/gzip", gzip.compress(image), "gzip"),
            ("/deflate", zlib.compress(image), "deflate"),
            ("/false", image, "gzip"),
            ("/cut", gzip.compress(image)[:-10], "gzip"),
            ("/bomb", bomb, "gzip"),
        ]:
            web.answers[path] = Answer(body, headers={"Content-Encoding": encoding})
        entries = ({"uri": f"{web.url}/{name}"} for name in ("gzip", "deflate", "false", "cut", "bomb"))
        gzipped, deflated, false, cut, big = fetch(Store(), *entries, max_bytes=1_000_000)
        for result in (gzipped, deflated, false):
            assert_bytes(result, image)
        assert_failed(cut, "truncated")
        assert_failed(big, "too_large")
        assert all(seen.headers["accept-encoding"] == "identity" for seen in web.seen)

    def test_etag_is_a_condition(self, web: WebServer) -> None:
        def answer(seen: Seen) -> Answer:
            held = seen.headers.get("if-match") in (None, '"v2"')
            return Answer(b"image", headers={"ETag": '"v2"'}) if held else Answer(status=412)

        web.answers["/a"] = answer
        web.answers["/weak"] = Answer(b"image", headers={"ETag": 'W/"v2"'})
        same, other, weak_same, weak_other = fetch(
            Store(),
            {"uri": f"{web.url}/a", "etag": "v2"},
            {"uri": f"{web.url}/a", "etag": "v1"},
            {"uri": f"{web.url}/weak", "etag": "W/v2"},
            {"uri": f"{web.url}/weak", "etag": "W/v1"},
        )
        for result in (same, weak_same):
            assert_bytes(result, b"image")
        for result in (other, weak_other):
            assert_failed(result, "changed")

    def test_headers_from_the_store(self, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WEB_TOKEN", "Bearer t")
        web.answers["/a"] = Answer(b"image")
        store = Store.model_validate({"options": {"headers": {"Authorization": "env:WEB_TOKEN"}}})
        assert_bytes(fetch(store, {"uri": f"{web.url}/a"})[0], b"image")
        assert web.seen[0].headers["authorization"] == "Bearer t"

    def test_headers_stay_with_the_server_that_was_named(self, web: WebServer) -> None:
        with WebServer() as other:
            other.answers["/b"] = Answer(b"image")
            web.answers["/a"] = Answer(status=307, headers={"Location": f"{other.url}/b"})
            store = Store.model_validate({"options": {"headers": {"Authorization": "Bearer t"}}})
            assert_bytes(fetch(store, {"uri": f"{web.url}/a"})[0], b"image")
            assert web.seen[0].headers["authorization"] == "Bearer t"
            assert "authorization" not in other.seen[0].headers

    def test_endless_redirects(self, web: WebServer) -> None:
        web.answers["/a"] = Answer(status=302, headers={"Location": "/a"})
        assert_failed(fetch(Store(), {"uri": f"{web.url}/a"})[0], "fetch_failed", "redirects")

    def test_nobody_there(self) -> None:
        refused, unknown, broken = fetch(
            Store(),
            {"uri": "http://127.0.0.1:1/a?sig=secret"},
            {"uri": "foo://h/a"},
            {"uri": "http://[broken/a?sig=secret"},
            attempts=1,
        )
        for result in (refused, unknown, broken):
            assert_failed(result, "fetch_failed")
            assert "secret" not in str(result.error_message)
        assert "unknown scheme foo" in str(unknown.error_message)


class TestLocal:
    def test_every_failure_is_its_code(self, tmp_path: Path) -> None:
        for name in ("fine.jpg", "touched.jpg", "grown.jpg", "gone.jpg", "zero.jpg", "a b#%20?.jpg"):
            (tmp_path / name).write_bytes(b"" if name == "zero.jpg" else b"x" * 1000)
        (tmp_path / "dangling.jpg").symlink_to("/nowhere")
        table = listed(str(tmp_path), Store())
        os.utime(tmp_path / "touched.jpg", ns=(1, 1))
        (tmp_path / "grown.jpg").write_bytes(b"x" * 1001)
        (tmp_path / "gone.jpg").unlink()
        got = dict(zip(table["uri"].to_pylist(), Fetcher(Store()).fetch(table), strict=True))
        got = {Path(uri).name: result for uri, result in got.items()}
        assert_bytes(got["fine.jpg"], b"x" * 1000)
        assert_bytes(got["a b#%20?.jpg"], b"x" * 1000)
        assert_failed(got["touched.jpg"], "changed")
        assert_failed(got["grown.jpg"], "changed")
        assert_failed(got["gone.jpg"], "not_found")
        assert_failed(got["dangling.jpg"], "not_found")
        assert_failed(got["zero.jpg"], "empty")

    def test_odd_files(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        (tmp_path / "big").write_bytes(b"x" * 1001)
        names = ("fifo", "loop", "big", ".", "x" * 300, "nul\0")
        fifo, loop, big, folder, long, null = fetch(
            Store(), *({"uri": f"{tmp_path}/{name}"} for name in names), max_bytes=1000
        )
        assert_failed(fifo, "fetch_failed", "not a regular file")
        assert_failed(loop, "not_found")
        assert_failed(big, "too_large")
        assert_failed(folder, "not_found", "directory")
        assert_failed(long, "not_found")
        assert_failed(null, "fetch_failed")

    def test_unreadable(self, tmp_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]) -> None:
        (tmp_path / "a").write_bytes(b"a")
        (tmp_path / "a").chmod(0)
        with unprivileged():
            assert_failed(fetch(Store(), {"uri": f"{tmp_path}/a"})[0], "denied")

    def test_name_that_is_not_utf8(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff%20.jpg")).write_bytes(b"image")
        (result,) = Fetcher(Store()).fetch(listed(str(tmp_path), Store()))
        assert_bytes(result, b"image")


def test_memory_store_stands_for_any_other_fsspec_store(tmp_path: Path) -> None:
    fs, root = Store().filesystem(f"memory://{tmp_path.name}")
    fs.pipe({f"{root}/a.jpg": b"a" * 1000, f"{root}/sub/b.jpg": b"b" * 1000, f"{root}/c.jpg": b"c" * 1000})
    table = listed(f"memory://{tmp_path.name}", Store())
    fs.pipe_file(f"{root}/c.jpg", b"c")
    c, a, b = (Fetcher(Store()).fetch(table)[table["uri"].to_pylist().index(f"memory://{tmp_path.name}/{name}")]
               for name in ("c.jpg", "a.jpg", "sub/b.jpg"))  # fmt: skip
    assert_bytes(a, b"a" * 1000)
    assert_bytes(b, b"b" * 1000)
    assert_failed(c, "changed")
    (gone,) = fetch(Store(), {"uri": f"memory://{tmp_path.name}/gone.jpg"})
    assert_failed(gone, "not_found")


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


MEMBERS = {f"{index:04}.jpg": bytes([index % 256]) * (1000 + 997 * index) for index in range(60)}


class TestContained:
    @pytest.mark.parametrize("place", ["s3", "file"])
    def test_tar_members(self, place: str, tmp_path: Path, s3_bucket: Bucket) -> None:
        data = tar_of({**MEMBERS, "label.json": b"{}", "big.jpg": b"x" * 200_000, "zero.jpg": b""})
        if place == "s3":
            s3_bucket.put("shards/a.tar", data)
        else:
            (tmp_path / "shards").mkdir()
            (tmp_path / "shards/a.tar").write_bytes(data)
        base, store = (s3_bucket.url, s3_bucket.store) if place == "s3" else (str(tmp_path), Store())
        table = listed(f"{base}/shards", store)
        *members, big, zero = Fetcher(store, max_bytes=100_000).fetch(table)
        for expected, result in zip(MEMBERS.values(), members, strict=True):
            assert_bytes(result, expected)
        assert_failed(big, "too_large")
        assert_failed(zero, "empty")
        assert table["uri"][0].as_py() == f"tar://0000.jpg::{base}/shards/a.tar"

    def test_neighbours_in_a_tar_come_in_one_request(self, web: WebServer) -> None:
        data = tar_of(MEMBERS)

        def answer(seen: Seen) -> Answer:
            if "range" not in seen.headers:
                return Answer(data)
            first, last = map(int, seen.headers["range"].removeprefix("bytes=").split("-"))
            return Answer(data[first : last + 1], 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

        web.answers["/a.tar"] = answer
        spans = listed(f"{web.url}/a.tar?sig=secret", Store())
        web.seen.clear()
        results = Fetcher(Store()).fetch(spans.slice(10, 20))
        for expected, result in zip(list(MEMBERS.values())[10:30], results, strict=True):
            assert_bytes(result, expected)
        assert len(web.seen) == 1
        web.answers["/a.tar"] = Answer(data)
        assert_failed(Fetcher(Store()).fetch(spans.slice(0, 1))[0], "fetch_failed", "ignores byte ranges")

    def test_replaced_tar(self, s3_bucket: Bucket) -> None:
        s3_bucket.put("a.tar", tar_of(MEMBERS))
        table = listed(f"{s3_bucket.url}/a.tar", s3_bucket.store)
        s3_bucket.put("a.tar", tar_of({"other.jpg": b"x"}))
        for result in Fetcher(s3_bucket.store).fetch(table):
            assert_failed(result, "changed")

    @pytest.mark.parametrize("place", ["s3", "file"])
    @pytest.mark.parametrize("struct", [True, False])
    def test_parquet_rows(self, place: str, struct: bool, tmp_path: Path, s3_bucket: Bucket) -> None:
        images: list[bytes | None] = [b"%d" % index * 1000 for index in range(250)]
        images[7], images[8], images[9] = None, b"", b"x" * 20_000
        column = pa.array([{"bytes": image, "path": None} for image in images] if struct else images)
        name = "image" if struct else "jpg"
        buffer = io.BytesIO()
        pq.write_table(pa.table({"label": range(250), name: column}), buffer, row_group_size=40)
        if place == "s3":
            s3_bucket.put("p/a.parquet", buffer.getvalue())
        else:
            (tmp_path / "p").mkdir()
            (tmp_path / "p/a.parquet").write_bytes(buffer.getvalue())
        base, store = (s3_bucket.url, s3_bucket.store) if place == "s3" else (str(tmp_path), Store())
        table = listed(f"{base}/p", store)
        assert table["uri"][249].as_py() == f"{base}/p/a.parquet#row=249"
        wanted = table.take([249, 3, 7, 8, 9, 39, 40, 120])
        last, third, null, empty, big, *rest = Fetcher(store, max_bytes=10_000).fetch(wanted)
        assert_bytes(last, b"249" * 1000)
        assert_bytes(third, b"3" * 1000)
        assert_failed(null, "empty")
        assert_failed(empty, "empty")
        assert_failed(big, "too_large")
        assert [result.data for result in rest] == [b"39" * 1000, b"40" * 1000, b"120" * 1000]

    def test_replaced_parquet(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"image": [b"a", b"b"]}), path)
        table = listed(str(path), Store())
        pq.write_table(pa.table({"image": [b"c"]}), path)
        for result in Fetcher(Store()).fetch(table):
            assert_failed(result, "changed")
        path.unlink()
        for result in Fetcher(Store()).fetch(table):
            assert_failed(result, "not_found")


class TestVersion:
    """Which state of the object was read."""

    MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

    def test_s3(self, s3_bucket: Bucket) -> None:
        s3_bucket.put("a.jpg", b"image")
        (result,) = fetch(s3_bucket.store, {"uri": f"{s3_bucket.url}/a.jpg"})
        assert result.version.etag == hashlib.md5(b"image").hexdigest()
        assert result.version.last_modified is not None
        assert abs(result.version.last_modified - datetime.now(UTC)) < timedelta(minutes=5)

    def test_web(self, web: WebServer) -> None:
        stamps = {"ETag": '"v1"', "Last-Modified": "Wed, 04 Mar 2026 05:06:07 GMT", "x-goog-generation": "17"}
        web.answers["/a.jpg"] = Answer(body=b"image", headers=stamps)
        web.answers["/b.jpg"] = Answer(body=b"image", headers={"Last-Modified": "yesterday"})
        first, second = fetch(Store(), {"uri": f"{web.url}/a.jpg"}, {"uri": f"{web.url}/b.jpg"})
        assert first.version == ("v1", "17", self.MOMENT)
        assert second.version == (None, None, None)

    def test_local(self, tmp_path: Path) -> None:
        file = tmp_path / "a.jpg"
        file.write_bytes(b"image")
        os.utime(file, (0, self.MOMENT.timestamp()))
        (result,) = fetch(Store(), {"uri": str(file)})
        assert result.version.etag == f"mtime-{file.stat().st_mtime_ns}"
        assert result.version.last_modified == self.MOMENT

    def test_a_member_has_that_of_its_archive(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar").write_bytes(tar_of({"1.jpg": b"image", "2.jpg": b"image"}))
        one, two = Fetcher(Store()).fetch(listed(str(tmp_path / "a.tar"), Store()))
        assert one.version == two.version
        assert one.version.etag == f"mtime-{(tmp_path / 'a.tar').stat().st_mtime_ns}"

    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            ({"LastModified": MOMENT, "ETag": '"x"', "VersionId": "3"}, ("x", "3", MOMENT)),
            ({"updated": "2026-03-04T05:06:07Z", "generation": 99}, ("99", "99", MOMENT)),
            ({"last_modified": MOMENT.replace(tzinfo=None), "etag": "y"}, ("y", None, MOMENT)),
            ({"mtime": MOMENT.timestamp()}, (None, None, MOMENT)),
            ({"mtime": 1e300, "LastModified": None}, (None, None, None)),
            ({}, (None, None, None)),
        ],
    )
    def test_entries_of_any_store(self, entry: dict[str, Any], expected: tuple[Any, ...]) -> None:
        assert version_of_entry(entry) == expected
