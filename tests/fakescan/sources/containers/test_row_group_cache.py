"""Row groups larger than a shard: read about once, right in every order, and nothing is left on the disk."""

import io
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.sources.containers import parquet as parquet_module
from fakescan.sources.containers import row_group_cache
from fakescan.sources.containers.parquet import read_images
from fakescan.storage.store import Store
from fakevlm.errors import ImageError
from tests.nearly_s3 import NearlyS3

pytestmark = pytest.mark.unit

ROWS, SHARD = 600, 64
IMAGES: list[bytes | None] = [random.Random(number).randbytes(8_000) for number in range(ROWS)]
IMAGES[5], IMAGES[150], IMAGES[450] = None, b"", None


def parquet(group: int, *, pages: int = 2**20) -> bytes:
    structs = [None if image is None else {"bytes": image, "path": None} for image in IMAGES]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    sink = io.BytesIO()
    table = pa.table({"image": pa.array(structs, kind)})
    pq.write_table(table, sink, row_group_size=group, data_page_size=pages, write_batch_size=32, use_dictionary=False)
    return sink.getvalue()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where row groups are kept during a test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(row_group_cache, "_folders", {})
    return tmp_path


def kept(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.*") if path.is_file()]


def read(server: NearlyS3, first: int, count: int = SHARD) -> dict[int, bytes | ImageError | None]:
    places = list(range(first, min(ROWS, first + count)))
    etag = server.etag(server.objects["a.parquet"]).strip('"')
    return dict(read_images("s3://b/a.parquet", etag, places, server.store))


class TestBytes:
    @pytest.mark.parametrize("group", [80, 256, ROWS])
    @pytest.mark.parametrize("small", [0, 2**25], ids=["large groups", "small groups"])
    def test_all_shards_read_the_file_about_once(
        self, group: int, small: int, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(row_group_cache, "_SMALL_BYTES", small)
        data = parquet(group)
        shards = list(range(0, ROWS, SHARD))
        random.Random(group).shuffle(shards)
        with NearlyS3({"a.parquet": data}) as server, ThreadPoolExecutor(3) as pool:
            results = pool.map(lambda first: read(server, first), shards)
            found = {place: image for result in results for place, image in result.items()}
            sent = server.sent
        assert [found[place] for place in range(ROWS)] == IMAGES
        assert sent / len(data) < 1.3
        assert kept(folder) == []

    def test_the_first_rows_do_not_wait_for_a_whole_group(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_group_cache, "_SMALL_BYTES", 0)
        monkeypatch.setattr(parquet_module, "_BUFFER_BYTES", 2**16)
        data = parquet(ROWS, pages=2**16)
        with NearlyS3({"a.parquet": data}) as server:
            assert list(read(server, 0, 20).values()) == IMAGES[:20]
            assert server.sent < len(data) / 2

    def test_without_a_version_nothing_is_kept(self, folder: Path) -> None:
        path = folder / "images.parquet"
        path.write_bytes(parquet(ROWS))
        assert dict(read_images(str(path), None, [3, 350], Store())) == {3: IMAGES[3], 350: IMAGES[350]}
        assert kept(folder) == [path.name]


class TestFaults:
    def test_another_version_is_not_taken_for_this_one(self) -> None:
        with NearlyS3({"a.parquet": parquet(ROWS)}) as server:
            read(server, 0)
            IMAGES[7], before = b"another", IMAGES[7]
            try:
                server.objects["a.parquet"] = parquet(ROWS)
                assert read(server, 0)[7] == b"another"
            finally:
                IMAGES[7] = before

    def test_damage_costs_what_comes_after_it(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        data = bytearray(parquet(ROWS, pages=2**16))
        middle = len(data) // 2
        data[middle : middle + 200_000] = b"\xff" * 200_000
        path.write_bytes(data)
        found = dict(read_images(str(path), f"mtime-{path.stat().st_mtime_ns}", [0, 1, 2, ROWS - 1], Store()))
        assert [found[place] for place in (0, 1, 2)] == IMAGES[:3]
        assert isinstance(found[ROWS - 1], ImageError)

    @pytest.mark.parametrize("cause", ["no room", "no folder", "a folder of others"])
    def test_without_a_place_on_the_disk(self, cause: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if cause == "no room":
            monkeypatch.setattr(row_group_cache, "_MAX_BYTES", 1)
        elif cause == "no folder":
            monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))
        else:
            (folder / f"fakescan-row-groups-{os.getuid()}").symlink_to("/etc")
        with NearlyS3({"a.parquet": parquet(ROWS)}) as server:
            assert list(read(server, 320).values()) == IMAGES[320 : 320 + SHARD]

    def test_what_a_killed_process_left_is_completed(self, folder: Path) -> None:
        with NearlyS3({"a.parquet": parquet(ROWS)}) as server:
            read(server, 0)
            [index], [data] = folder.rglob("*.index"), folder.rglob("*.data")
            index.write_bytes(index.read_bytes()[: 16 * 100])  # it was killed between the two
            data.write_bytes(data.read_bytes()[: 8_000 * 110])
            assert list(read(server, 320).values()) == IMAGES[320 : 320 + SHARD]

    def test_the_last_process_leaves_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        path.write_bytes(parquet(ROWS))
        (tmp_path / "tmp").mkdir()
        code = (
            "import os, sys; from fakescan.sources.containers.parquet import read_images\n"
            "from fakescan.storage.store import Store\n"
            "etag = f'mtime-{os.stat(sys.argv[1]).st_mtime_ns}'\n"
            "assert len(list(read_images(sys.argv[1], etag, [1, 2, 3], Store()))) == 3\n"
            "assert len(os.listdir(sys.argv[2])) == 1\n"
        )
        subprocess.run(
            [sys.executable, "-c", code, str(path), str(tmp_path / "tmp")],
            check=True,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        )
        assert list((tmp_path / "tmp").iterdir()) == []
