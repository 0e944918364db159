"""Listing of parts: which there are, and a stamp that no other version of a part has."""

import os
from pathlib import Path

import numpy as np
import pytest

from fakescan.run.bulk.listing import UNKNOWN, list_parts, stamp_of_written
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name
from fakescan.storage.store import Store
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit


def test_parts_and_strangers_are_told_apart(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), Store())
    assert len(folder.listing()) == 0, "without a folder of parts, too"
    (tmp_path / "parts").mkdir()
    for name in (part_name(7), part_name(123456), part_name(2), "part-1.parquet", ".x.tmp"):
        (tmp_path / "parts" / name).write_bytes(name.encode())
    listing = folder.listing()
    assert listing.shards.tolist() == [2, 7, 123456]
    assert listing.sizes.tolist() == [21, 21, 21]
    assert listing.strangers == (".x.tmp", "part-1.parquet")
    assert listing.below(8).shards.tolist() == [2, 7]
    assert listing.between(3, 200_000).shards.tolist() == [7, 123456]
    assert listing.places_of(np.array([7, 8, 2])).tolist() == [1, -1, 0]
    assert [len(batch) for batch in listing.batches(2)] == [2, 1]


def test_a_changed_file_has_another_stamp_even_with_its_old_size_and_time(run_folder: RunFolder) -> None:
    path = Path(run_folder.part(1))
    before, found = run_folder.listing(), path.stat()
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert path.stat().st_mtime_ns == found.st_mtime_ns
    after = run_folder.listing()
    assert (before.sizes == after.sizes).all()
    assert (before.stamps == after.stamps).tolist() == [True, False, True, True]


def test_who_writes_a_part_knows_its_stamp(run_folder: RunFolder) -> None:
    data = run_folder.part_data(2)
    assert data is not None
    run_folder.write_part(2, data)
    assert stamp_of_written(run_folder.fs, run_folder.parts, 2, data) == run_folder.listing().stamps[2] != UNKNOWN


def test_on_s3_the_stamp_follows_the_content(s3_bucket: Bucket) -> None:
    folder = RunFolder(f"{s3_bucket.url}/run", s3_bucket.store)
    make_run(folder)
    listing = folder.listing()
    assert listing.shards.tolist() == [0, 1, 2, 3]
    data = folder.part_data(1)
    assert data is not None
    assert stamp_of_written(folder.fs, folder.parts, 1, data) == listing.stamps[1] != UNKNOWN
    s3_bucket.put("run/parts/part-00000001.parquet", data[:-1] + b"x")
    again = folder.listing()
    assert (again.sizes == listing.sizes).all()
    assert (again.stamps == listing.stamps).tolist() == [True, False, True, True]


def test_a_store_that_tells_no_versions_gives_no_stamps() -> None:
    fs, path = Store().filesystem("memory://stamps/run")
    fs.pipe_file(f"{path}/parts/{part_name(0)}", b"x")
    assert list_parts(fs, f"{path}/parts").stamps.tolist() == [UNKNOWN]
