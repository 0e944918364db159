"""Faults: what a scan outlasts, what it refuses, and what it leaves behind when it is stopped; in real processes."""

import contextlib
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.conftest import Bucket, new_bucket
from tests.fakescan.scan.test_driver import Command, error_line
from tests.fakescan.scan.test_driver import fakescan as in_process  # noqa: F401 - a fixture
from tests.scan_process import ScanProcess, fakescan, read_rows, running
from tests.storage_server import SeaweedServer
from tests.web_server import Answer, WebServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.usefixtures("ray_cluster")]

SECRET = "do-not-show-this"
SLOW = {"kind": "fake", "max_num_seqs": 1, "step_s": 0.1}
"""Ten images a second."""
FAST = {"kind": "fake"}


def command(folder: Path, model: Path, **settings: Any) -> list[object]:
    """A scan of the fake engine with these settings."""
    config = folder / f"{len(list(folder.glob('*.yaml')))}.yaml"
    config.write_text(json.dumps({"model": str(model), "shard_rows": 4, "engine": FAST, **settings}))
    return ["scan", "--config", config]


def settings_of(server: SeaweedServer, prefix: str) -> dict[str, Any]:
    """A server's store for a configuration file; its secrets are in the environment under `prefix`."""
    return {
        "endpoint_url": server.endpoint_url,
        "region": "us-east-1",
        "options": {"key": f"env:{prefix}_KEY", "secret": f"env:{prefix}_SECRET"},
    }


def environment_of(server: SeaweedServer, prefix: str) -> dict[str, str]:
    return {f"{prefix}_KEY": server.access_key, f"{prefix}_SECRET": server.secret_key}


def upload(bucket: Bucket, pictures: Path, copies: int = 1) -> None:
    """Put the pictures below images/, several times over if asked."""
    with ThreadPoolExecutor(8) as pool:
        names = [(copy, path) for copy in range(copies) for path in sorted(pictures.iterdir())]
        list(pool.map(lambda item: bucket.put(f"images/{item[0]}/{item[1].name}", item[1].read_bytes()), names))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path / "run"), Store())


def error_of(process: ScanProcess) -> str:
    """The last line on stderr, which says what is wrong; there is no traceback."""
    assert "Traceback" not in process.err
    last = process.err.splitlines()[-1]
    assert last.startswith("fakescan: error: "), process.err
    return last


def facts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the time at which they were scanned."""
    return [{name: value for name, value in row.items() if name != "scanned_at"} for row in rows]


def test_ctrl_c_leaves_a_run_that_can_be_resumed(
    in_process: Command,  # noqa: F811
    pictures: Path,
    run: RunFolder,
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    """The first scan on a Ray of its own: a terminal sends SIGINT to everything in the foreground."""
    settings = {"source": str(pictures), "output": run.url}
    with running(*command(tmp_path, tiny_model, **settings, engine=SLOW)) as scan:
        scan.wait_for_parts(run, 2)
        scan.press_ctrl_c()
        assert scan.end(60) == 130
    assert re.fullmatch(
        r"fakescan: error: interrupted at \d+ of 30 rows; what is done stays: run the same command again to resume",
        error_of(scan),
    )
    assert not run.fs.exists(f"{run.path}/lease.json")
    done = len(run.part_names())
    assert 2 <= done < 8
    again = in_process(*command(tmp_path, tiny_model, **settings))
    assert "rows: 30 of 30" in again.out
    in_process("verify", run.url)


def test_a_manifest_that_was_lost_is_one_clear_error(
    in_process: Command,  # noqa: F811
    pictures: Path,
    first_scan: Path,
    run: RunFolder,
) -> None:
    shutil.copytree(first_scan, run.path)
    os.remove(Path(run.parts, "part-00000000.parquet"))
    os.remove(Path(run.path, "manifest", "part-00000.parquet"))
    assert "manifest" in error_line(in_process("scan", pictures, "-o", run.url, status=2))


def test_signatures_of_addresses_are_never_shown(
    ray_cluster: str,
    in_process: Command,  # noqa: F811
    s3: SeaweedServer,
    pictures: Path,
    run: RunFolder,
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    """Presigned addresses, sound and failing in every way: their secret is in the manifest and nowhere else."""
    import ray

    bucket = new_bucket(s3)
    filesystem, _ = bucket.store.filesystem(bucket.url)
    sound = sorted(pictures.iterdir())[:8]
    with WebServer() as web:
        addresses = []
        for path in sound:
            bucket.put(path.name, path.read_bytes())
            addresses.append(f"{filesystem.sign(f'{bucket.name}/{path.name}')}&note={SECRET}")
        for page, answer in {
            "/gone.jpg": Answer(b"", 404),
            "/forbidden.jpg": Answer(b"", 403),
            "/broken.jpg": Answer(b"", 500),
            "/cut.jpg": Answer(sound[0].read_bytes(), cut=20),
            "/words.jpg": Answer(b"words"),
            "/moved.jpg": Answer(b"", 302, {"Location": f"/gone.jpg?X-Amz-Signature={SECRET}"}),
        }.items():
            web.answers[page] = answer
            addresses.append(f"{web.url}{page}?X-Amz-Signature={SECRET}")
        addresses += [
            f"http://127.0.0.1:9/nobody.jpg?X-Amz-Signature={SECRET}",
            f"http://user:{SECRET}@127.0.0.1:9/user.jpg",
            f"http://no-such-host.invalid/x.jpg?sig={SECRET}",
        ]
        (tmp_path / "list.csv").write_text("\n".join(["url", *addresses]))
        arguments = [
            *command(tmp_path, tiny_model, source=str(tmp_path / "list.csv"), output=run.url),
            *("--ray-address", ray_cluster),
        ]
        scan = fakescan("--verbose", *arguments, "--max-error-rate", "1")
    rows = read_rows(run)
    assert [row["error_code"] for row in rows[:8]] == [None] * 8, [row["error_message"] for row in rows[:8]]
    assert {row["error_code"] for row in rows[8:]} == {"not_found", "denied", "fetch_failed", "not_an_image"}
    in_process("verify", run.url)
    assert SECRET in str(pq.read_table(Path(run.path, "manifest", "part-00000.parquet"))["uri"].to_pylist())
    assert SECRET not in scan.out + scan.err
    logs = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"
    shown = [path for path in [*Path(run.path).rglob("*"), *logs.rglob("*")] if path.is_file()]
    shown = [path for path in shown if "manifest" not in path.parts]
    assert len(shown) > 10
    for path in shown:
        with contextlib.suppress(FileNotFoundError):
            assert SECRET.encode() not in path.read_bytes(), path
