"""Slices: several scans share a run, each with a part of its shards, and make what one scan would have made."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.fakescan.scan.test_driver import Command, error_line, fakescan, images, run  # noqa: F401 - fixtures
from tests.scan_process import read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("scanned_at", "run_id")} for row in rows]


def test_slices_make_the_run_that_one_scan_makes(
    fakescan: Command,  # noqa: F811
    pictures: Path,
    run: RunFolder,  # noqa: F811
    first_scan: Path,
) -> None:
    whole = RunFolder(str(first_scan), Store())
    sliced = ("scan", pictures, "-o", run.url, "--shard-rows", 4, "--slice")

    ended = fakescan(*sliced, "2/3")
    assert "slice 2 of 3 done; the run misses 5 parts of other slices" in ended.out
    assert re.search(r"^rows: 12 of 12 ", ended.out, re.MULTILINE)
    assert "0/12 " in ended.err
    assert run.shards() == [2, 3, 4]
    assert "verify" not in ended.out
    assert "unfinished" in fakescan("verify", run.url, status=1).out

    found = json.loads(fakescan(*sliced, "1/3", "--json").out)
    assert (found["slice"], found["missing_parts"], found["counts"]["rows"]) == ("1/3", 3, 8)
    again = fakescan(*sliced, "1/3").out
    assert "this slice is complete since" in again
    assert "slice 1 of 3 done; the run misses 3 parts of other slices" in again

    assert "slice: 3/3: 10 rows to scan here" in fakescan(*sliced, "3/3", "--dry-run").out
    ended = fakescan(*sliced, "3/3")
    assert "slice 3 of 3 done; the run is complete" in ended.out
    assert sorted(path.name for path in Path(run.path).iterdir()) == ["cache", "manifest", "parts", "run.json"]
    fakescan("verify", run.url)
    assert without_times(read_rows(run)) == without_times(read_rows(whole))


def test_errors_are_retried_in_the_slice_alone(
    fakescan: Command,  # noqa: F811
    images: Path,  # noqa: F811
    run: RunFolder,  # noqa: F811
) -> None:
    names = sorted(images.iterdir())
    good = names[0].read_bytes()
    for path in (names[0], names[-1]):
        path.write_bytes(b"no image")
    fakescan("scan", images, "-o", run.url, "--shard-rows", 8)
    for path in (names[0], names[-1]):
        path.write_bytes(good)
    ended = fakescan("scan", images, "-o", run.url, "--retry-errors", "--slice", "2/2")
    assert re.search(r"^rows: 14 of 14 .* errors 0$", ended.out, re.MULTILINE)
    assert [row["row_id"] for row in read_rows(run) if row["error_code"]] == [0]


def test_what_cannot_be_shared_is_refused(
    fakescan: Command,  # noqa: F811
    images: Path,  # noqa: F811
    run: RunFolder,  # noqa: F811
) -> None:
    for wrong in ("3", "0/2", "3/2"):
        assert "slice: " in error_line(fakescan("scan", images, "-o", run.url, "--slice", wrong, status=2))
    fakescan("scan", images, "-o", run.url, "--shard-rows", 8, "--slice", "1/2")
    other = fakescan("scan", images, "-o", run.url, "--shard-rows", 8, "--slice", "2/2", "--explain", "all", status=2)
    assert "explain was fakes, now all" in error_line(other)


def test_the_second_waits_for_the_one_that_lists_the_source(
    fakescan: Command,  # noqa: F811
    images: Path,  # noqa: F811
    run: RunFolder,  # noqa: F811
) -> None:
    from fakescan.storage.lease import Lease

    start = Lease(run.fs, f"{run.path}/lease-start.json", lease_s=5.0)
    start.acquire()
    released = threading.Timer(3.0, start.release)
    released.start()
    ended = fakescan("scan", images, "-o", run.url, "--shard-rows", 8, "--slice", "1/2")
    released.join()
    assert re.search(r"waiting for process \d+ on \S+, which prepares the run", ended.err)
    assert "slice 1 of 2 done" in ended.out
