"""Scans in the weather of a real S3 server: throttled, stopped, with new credentials, and gone for good."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.conftest import Bucket, new_bucket
from tests.fakescan.scan.test_faults import SLOW, command, environment_of, error_of, facts, settings_of, upload
from tests.faulty_s3 import FaultyS3, at_random
from tests.nearly_s3 import NearlyS3
from tests.scan_process import fakescan, read_rows, running
from tests.storage_server import SeaweedServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

COPIES = 8
"""Of 30 pictures."""


def rows_without_run(folder: RunFolder) -> list[dict[str, Any]]:
    """Rows as two runs have them alike."""
    return [{name: value for name, value in row.items() if name != "run_id"} for row in facts(read_rows(folder))]


@pytest.fixture
def undisturbed(ray_cluster: str, own_s3: SeaweedServer, pictures: Path, tmp_path: Path, tiny_model: Path) -> Any:
    """A bucket with pictures, and the rows of a scan of it in fair weather."""
    bucket = new_bucket(own_s3)
    upload(bucket, pictures, COPIES)
    folder = RunFolder(str(tmp_path / "undisturbed"), Store())
    settings = {"source": f"{bucket.url}/images", "output": folder.url, "input_store": settings_of(own_s3, "S3")}
    fakescan(
        *command(tmp_path, tiny_model, **settings),
        *("--ray-address", ray_cluster),
        environment=environment_of(own_s3, "S3"),
    )
    return bucket, rows_without_run(folder)


def stop(server: SeaweedServer) -> None:
    """SIGSTOP: connections are taken, and nothing answers."""
    assert server._process is not None
    os.killpg(server._process.pid, signal.SIGSTOP)


def go_on(server: SeaweedServer) -> None:
    assert server._process is not None
    os.killpg(server._process.pid, signal.SIGCONT)


def test_throttled_then_silent_then_with_other_credentials(
    ray_cluster: str,
    own_s3: SeaweedServer,
    undisturbed: tuple[Bucket, list[dict[str, Any]]],
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    """Source and output are in the store: 503 for nine of ten requests, SIGSTOP, and an operator with a new key."""
    bucket, rows = undisturbed
    file = tmp_path / "credentials"

    def write_credentials() -> None:
        lines = ["[audit]", f"aws_access_key_id = {own_s3.access_key}", f"aws_secret_access_key = {own_s3.secret_key}"]
        file.write_text("\n".join(lines))

    write_credentials()
    silent_s = float(os.environ.get("FAKESCAN_DRILL_SILENT_S", "20"))
    with FaultyS3(own_s3.endpoint_url) as proxy:
        store = {"endpoint_url": proxy.endpoint_url, "region": "us-east-1", "profile": "audit"}
        settings = {
            "source": f"{bucket.url}/images",
            "output": f"{bucket.url}/run",
            "input_store": store,
            "output_store": store,
            "fetch_timeout_s": 5,
            "shard_rows": 8,
        }
        folder = RunFolder(f"{bucket.url}/run", bucket.store)
        environment = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
        # Its own Ray: the workers read the file that this variable names.
        with running(*command(tmp_path, tiny_model, **settings, engine=SLOW), environment=environment) as scan:
            scan.wait_for_parts(folder, 2)
            proxy.fault = at_random(0.9, 503, "SlowDown")
            scan.wait_for("throttled requests", lambda: proxy.answers[503] > 500, 180)
            proxy.fault = lambda method, path: None
            stop(own_s3)
            with pytest.raises(AssertionError, match="no end"):
                scan.wait_for("end", lambda: False, silent_s)
            go_on(own_s3)
            scan.wait_for_parts(folder, 8)
            own_s3.kill()
            own_s3.access_key, own_s3.secret_key = "another-key", "another-secret"
            own_s3.start()
            scan.wait_for("refused credentials", lambda: proxy.answers[403] > 5, 120)
            scan.wait_for("a word of it", lambda: "waiting for the store" in scan.err, 60)
            write_credentials()
            assert scan.end(300) == 0, scan.err
    store_now = own_s3.store
    assert rows_without_run(RunFolder(f"{bucket.url}/run", store_now)) == rows
    assert "waiting for the store: " in scan.err


def test_a_store_that_does_not_come_back_stops_the_scan_and_the_run_is_resumed(
    ray_cluster: str,
    own_s3: SeaweedServer,
    undisturbed: tuple[Bucket, list[dict[str, Any]]],
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    bucket, rows = undisturbed
    folder = RunFolder(str(tmp_path / "run"), Store())
    settings = {
        "source": f"{bucket.url}/images",
        "output": folder.url,
        "input_store": settings_of(own_s3, "S3"),
        "store_patience_s": 8,
    }
    environment = environment_of(own_s3, "S3")
    slow = [*command(tmp_path, tiny_model, **settings, engine=SLOW), "--ray-address", ray_cluster]
    with running(*slow, environment=environment) as scan:
        scan.wait_for_parts(folder, 4)
        own_s3.kill()
        assert scan.end(120) == 1
    assert "the scan stopped: waited for the store for " in error_of(scan)
    assert "the same command resumes" in error_of(scan)
    assert "waiting for the store: s3://" in scan.err
    assert {row["error_code"] for name in folder.part_names() for row in _part(folder, name)} == {None}
    own_s3.start()
    fakescan(*command(tmp_path, tiny_model, **settings), "--ray-address", ray_cluster, environment=environment)
    assert rows_without_run(folder) == rows


def _part(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = pq.read_table(f"{folder.parts}/{name}").to_pylist()
    return found


def test_listing_and_the_manifest_outlast_the_store_too(
    ray_cluster: str,
    own_s3: SeaweedServer,
    undisturbed: tuple[Bucket, list[dict[str, Any]]],
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    """Half of all requests fail from the first on, listings, manifest, lease and parts included; then it is away."""
    bucket, rows = undisturbed
    with FaultyS3(own_s3.endpoint_url) as proxy:
        store = {**settings_of(own_s3, "S3"), "endpoint_url": proxy.endpoint_url}
        output = f"{bucket.url}/listed"
        settings = {
            "source": f"{bucket.url}/images",
            "output": output,
            "input_store": store,
            "output_store": store,
            "store_patience_s": 60,
        }
        arguments = [*command(tmp_path, tiny_model, **settings, engine=SLOW), "--ray-address", ray_cluster]
        listed = threading.Event()
        draw = at_random(0.5, 503, "SlowDown", methods="GET PUT DELETE HEAD POST")

        def fault(method: str, path: str) -> tuple[int, str] | None:
            if "list-type" in path and "images" in path:
                listed.set()
            return draw(method, path) if listed.is_set() else None

        proxy.fault = fault
        with running(*arguments, environment=environment_of(own_s3, "S3")) as scan:
            folder = RunFolder(output, bucket.store)
            scan.wait_for_parts(folder, 3)
            own_s3.kill()
            with pytest.raises(AssertionError, match="no end"):
                scan.wait_for("end", lambda: False, 5)
            own_s3.start()
            proxy.fault = lambda method, path: None
            assert scan.end(300) == 0, scan.err
    assert rows_without_run(RunFolder(output, bucket.store)) == rows


def test_access_that_is_taken_away_stops_the_scan_before_all_rows_are_errors(
    ray_cluster: str, pictures: Path, tmp_path: Path, tiny_model: Path
) -> None:
    """The store denies every object from the first on: no weather, but no reason to go through the whole source."""
    image = next(path for path in sorted(pictures.iterdir()) if path.suffix == ".png").read_bytes()
    folder = RunFolder(str(tmp_path / "run"), Store())
    with NearlyS3({f"images/{number:04}.png": image for number in range(6000)}, "forbids reading") as server:
        options = {name: secret.get_secret_value() for name, secret in server.store.options.items()}
        store = {"endpoint_url": server.store.endpoint_url, "region": "us-east-1", "options": options}
        settings = {"source": "s3://b/images", "output": folder.url, "input_store": store, "shard_rows": 250}
        arguments = [*command(tmp_path, tiny_model, **settings), "--ray-address", ray_cluster]
        stopped = fakescan(*arguments, status=1)
        assert "of the last" in error_of(stopped)
        assert "above --max-fetch-error-rate 20.00%" in error_of(stopped)
        assert "AccessDenied" in error_of(stopped)
        assert len(folder.part_names()) >= 9
        server.habits = frozenset()
        fakescan(*arguments, "--retry-errors")
    rows = read_rows(folder)
    assert len(rows) == 6000
    assert {row["error_code"] for row in rows} == {None}
