"""Scans that are stopped and killed on a lasting cluster, and a store that goes away meanwhile."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.conftest import new_bucket
from tests.fakescan.scan.test_faults import SLOW, command, environment_of, error_of, run, settings_of, upload
from tests.scan_process import fakescan, read_rows, running
from tests.storage_server import SeaweedServer

__all__ = ["run"]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_sigterm_and_kill_on_a_lasting_cluster(
    ray_cluster: str, pictures: Path, run: RunFolder, tmp_path: Path, tiny_model: Path
) -> None:
    """Ray outlives its drivers here, so tasks of the killed one may still write while the next one is at work."""
    settings = {"source": str(pictures), "output": run.url}
    slow = [*command(tmp_path, tiny_model, **settings, engine=SLOW), "--ray-address", ray_cluster]
    with running(*slow) as scan:
        scan.wait_for_parts(run, 2)
        scan.signal(signal.SIGTERM)
        assert scan.end(60) == 130
    assert "interrupted" in error_of(scan)
    assert not run.fs.exists(f"{run.path}/lease.json")
    stopped = len(run.part_names())
    assert stopped < 8
    with running(*slow) as scan:
        scan.wait_for_parts(run, stopped + 1)
        scan.kill()
    assert run.fs.exists(f"{run.path}/lease.json"), "nobody could remove it"
    again = fakescan(*command(tmp_path, tiny_model, **settings), "--ray-address", ray_cluster)
    assert "watching" not in again.err, "the holder was a process of this machine and is gone"
    assert "rows: 30 of 30" in again.out
    rows = read_rows(run)
    fakescan("verify", run.url)
    alone = RunFolder(str(tmp_path / "alone"), Store())
    fakescan(*command(tmp_path, tiny_model, source=str(pictures), output=alone.url), "--ray-address", ray_cluster)
    assert [row["score"] for row in rows] == [row["score"] for row in read_rows(alone)]


def test_a_store_that_goes_away_and_comes_back(
    ray_cluster: str, own_s3: SeaweedServer, pictures: Path, tmp_path: Path, tiny_model: Path
) -> None:
    """Results wait for their store, and so do images that cannot be fetched meanwhile."""
    bucket = new_bucket(own_s3)
    upload(bucket, pictures, copies=4)
    store, environment = settings_of(own_s3, "BOTH"), environment_of(own_s3, "BOTH")
    settings = {
        "source": f"{bucket.url}/images",
        "output": f"{bucket.url}/run",
        "input_store": store,
        "output_store": store,
        "fetch_timeout_s": 5,
    }
    folder = RunFolder(f"{bucket.url}/run", bucket.store)
    slow = [*command(tmp_path, tiny_model, **settings, engine=SLOW), "--ray-address", ray_cluster]
    with running(*slow, environment=environment) as scan:
        scan.wait_for_parts(folder, 4)
        own_s3.kill()
        with pytest.raises(AssertionError, match="no end"):
            scan.wait_for("end", lambda: False, timeout_s=3)
        own_s3.start()
        assert scan.end() == 0, scan.err
    rows = read_rows(folder)
    assert len(rows) == 120
    assert {row["error_code"] for row in rows} == {None}
    flags = ["--output-endpoint", own_s3.endpoint_url, "--output-option", "key=env:BOTH_KEY"]
    verify = ["verify", folder.url, *flags, "--output-option", "secret=env:BOTH_SECRET"]
    fakescan(*verify, environment=environment)


def test_two_scans_of_one_run(
    ray_cluster: str, pictures: Path, run: RunFolder, tmp_path: Path, tiny_model: Path
) -> None:
    fast = {"source": str(pictures), "output": run.url, "shard_rows": 1}
    slow = {**fast, "engine": {**SLOW, "step_s": 3.0}}  # a part every 3 s, for 90 s
    with running(*command(tmp_path, tiny_model, **slow), "--ray-address", ray_cluster) as first:
        first.wait_for_parts(run, 1)
        second = fakescan(*command(tmp_path, tiny_model, **fast), "--ray-address", ray_cluster, status=2)
        assert f"another scan is writing this run (process {first.pid} on " in error_of(second)
        assert not first.has_ended
        force = [*command(tmp_path, tiny_model, **fast), "--ray-address", ray_cluster, "--break-lease"]
        third = fakescan(*force)
        assert "rows: 30 of 30" in third.out
        assert first.end(60) == 1
    assert "another scan has taken this run over" in error_of(first)
    fakescan("verify", run.url)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 kB, which may grow."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"this machine lets nobody mount a small disk: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_stops_the_scan_and_room_lets_it_go_on(
    ray_cluster: str, pictures: Path, small_disk: Path, tmp_path: Path, tiny_model: Path
) -> None:
    settings = {"source": str(pictures), "output": str(small_disk / "run"), "shard_rows": 1}
    arguments = [*command(tmp_path, tiny_model, **settings), "--ray-address", ray_cluster]
    full = fakescan(*arguments, status=1)
    assert "No space left on device" in error_of(full)
    folder = RunFolder(str(small_disk / "run"), Store())
    done = {name: folder.fs.cat_file(f"{folder.parts}/{name}") for name in folder.part_names() if name[0] != "."}
    assert 0 < len(done) < 30
    subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    fakescan(*arguments)
    assert {name: folder.fs.cat_file(f"{folder.parts}/{name}") for name in done} == done
    fakescan("verify", folder.url)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process is there and has not ended, which one may have that nobody has asked for its exit status."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_when_the_summary_is_there_the_prompt_is_too(
    pictures: Path, run: RunFolder, tmp_path: Path, tiny_model: Path
) -> None:
    """A Ray of its own is gone before the summary is printed: nothing of it is left to wait for."""
    with running(*command(tmp_path, tiny_model, source=str(pictures), output=run.url)) as scan:
        scan.wait_for_parts(run, 1)
        below = psutil.Process(scan.pid).children(recursive=True)
        assert below
        while not (scan.has_ended or "results: " in scan.out):
            time.sleep(0.005)
        summary_at = time.monotonic()
        assert not [process for process in below if is_alive(process)]
        assert scan.end() == 0
    assert time.monotonic() - summary_at < 1.0
    assert not run.fs.exists(f"{run.path}/lease.json")


def test_objects_that_came_back_are_mended_by_a_retry(
    ray_cluster: str, s3: SeaweedServer, pictures: Path, run: RunFolder, tmp_path: Path, tiny_model: Path
) -> None:
    bucket = new_bucket(s3)
    upload(bucket, pictures)
    manifest, store = str(tmp_path / "manifest"), settings_of(s3, "IN")
    environment = environment_of(s3, "IN")
    flags = ["--input-endpoint", s3.endpoint_url, "--input-option", "key=env:IN_KEY"]
    fakescan(
        *("index", f"{bucket.url}/images", "-o", manifest, *flags, "--input-option", "secret=env:IN_SECRET"),
        environment=environment,
    )
    names = sorted(path.name for path in pictures.iterdir())
    lost = {name: (pictures / name).read_bytes() for name in (names[3], names[17])}
    for name in lost:
        bucket.call("delete_object", Key=f"images/0/{name}")
    arguments = [
        *command(tmp_path, tiny_model, source=manifest, output=run.url, input_store=store),
        *("--ray-address", ray_cluster),
    ]
    fakescan(*arguments, environment=environment)
    before = read_rows(run)
    assert [row["row_id"] for row in before if row["error_code"] == "not_found"] == [3, 17]
    bucket.put(f"images/0/{names[3]}", lost[names[3]])
    retried = fakescan(*arguments, "--retry-errors", environment=environment)
    assert "scanned now: 2 in" in retried.out
    assert "errors 1" in retried.out
    after = read_rows(run)
    assert after[3]["verdict"] in ("real", "fake")
    assert after[17]["error_code"] == "not_found"
    others = [index for index in range(30) if index not in (3, 17)]
    assert [after[index] for index in others] == [before[index] for index in others]
    fakescan("verify", run.url)


def test_input_and_output_in_different_stores(
    ray_cluster: str, s3: SeaweedServer, own_s3: SeaweedServer, pictures: Path, tmp_path: Path, tiny_model: Path
) -> None:
    own_s3.kill()
    own_s3.access_key, own_s3.secret_key = "another-key", "another-secret"
    own_s3.start()
    source, output = new_bucket(s3), new_bucket(own_s3)
    upload(source, pictures)
    settings = {
        "source": f"{source.url}/images",
        "output": f"{output.url}/run",
        "input_store": settings_of(s3, "IN"),
        "output_store": settings_of(own_s3, "OUT"),
    }
    environment = {**environment_of(s3, "IN"), **environment_of(own_s3, "OUT")}
    arguments = [*command(tmp_path, tiny_model, **settings), "--ray-address", ray_cluster]
    swapped = {**environment_of(own_s3, "IN"), **environment_of(s3, "OUT")}
    assert "wrong or expired credentials" in error_of(fakescan(*arguments, environment=swapped, status=2))
    fakescan(*arguments, environment=environment)
    folder = RunFolder(f"{output.url}/run", output.store)
    assert {row["error_code"] for row in read_rows(folder)} == {None}
    stored = [folder.fs.cat_file(path) for path in folder.fs.find(folder.path)]
    assert not [data for data in stored if b"another-secret" in data or s3.secret_key.encode() in data]
