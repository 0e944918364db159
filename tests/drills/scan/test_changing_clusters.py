"""Clusters that change under a scan: an autoscaler's GPU group at zero, and nodes that are lost at random moments."""

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.local_cluster import LocalCluster, local_cluster
from tests.scan_process import ScanProcess, fakescan, read_rows, running
from tests.training import process_title

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

GROWN_WITHIN_S = 90.0
IDLE_S = 5.0


@pytest.fixture(scope="module")
def many(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six hundred names of thirty images."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(20):
        for picture in pictures.iterdir():
            (folder / f"{number:02}-{picture.name}").hardlink_to(picture)
    return folder


def command(folder: Path, model: Path, source: Path, address: str, **settings: Any) -> list[object]:
    file = folder / "scan.yaml"
    plain = {"source": str(source), "output": str(folder / "run"), "model": str(model), "shard_rows": 2}
    file.write_text(json.dumps({**plain, **settings}))
    return ["scan", "--config", file, "--ray-address", address]


def engines(cluster: LocalCluster) -> int:
    """Engines that are at work or load."""
    return sum("MapBatches(Judge" in process_title(process) for process in cluster.processes())


@pytest.mark.parametrize("autoscaler", ["v2", "v1"])
def test_a_range_of_gpu_engines_follows_an_autoscaler_from_none_to_four_and_back(
    many: Path, tiny_model: Path, tmp_path: Path, autoscaler: str
) -> None:
    engine = {"kind": "fake", "max_num_seqs": 1, "step_s": 0.25}
    with local_cluster(
        *("--group", "gpu:0-6:2:1", "--head-cpus", 2, "--idle-s", IDLE_S, "--autoscaler", autoscaler)
    ) as cluster:
        settings = {"engine": engine, "device": "cuda", "replicas": "1-4"}
        words = command(tmp_path, tiny_model, many, cluster.address, **settings)
        assert len(cluster.raylets()) == 1, "the head alone"
        with running(*words, environment=cluster.environment) as scan:
            seen = follow(scan, cluster)
            assert scan.end() == 0, scan.err
        print(f"{autoscaler}: nodes and engines first seen: {seen}")
        assert "waiting for a GPU node: the cluster has none now; then 1 to 4 engines on 1 to 4 GPUs" in scan.err
        assert max(count for count, _ in seen) == 4, f"as many nodes as the range has engines, and none more: {seen}"
        assert max(count for _, count in seen) == 4
        ended = time.monotonic()
        while len(cluster.raylets()) > 1:
            assert time.monotonic() < ended + 60, "the nodes stay"
            time.sleep(0.5)
    folder = RunFolder(str(tmp_path / "run"), Store())
    assert len(read_rows(folder)) == 600
    fakescan("verify", folder.url)


def follow(scan: ScanProcess, cluster: LocalCluster) -> dict[tuple[int, int], float]:
    """Seconds after which each pair of nodes beside the head and engines was first there, until the scan ends."""
    started = time.monotonic()
    seen: dict[tuple[int, int], float] = {}
    while not scan.has_ended:
        now = (len(cluster.raylets()) - 1, engines(cluster))
        seen.setdefault(now, round(time.monotonic() - started, 1))
        assert any(count == 4 for _, count in seen) or time.monotonic() < started + GROWN_WITHIN_S, (seen, scan.err)
        time.sleep(0.3)
    return seen


@pytest.mark.parametrize("seed", [1, 2])
def test_nodes_are_lost_at_random_moments(many: Path, tiny_model: Path, tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    losses = ["--lose-every", 20, "--back-after", 5, "--seed", seed]
    engine = {"kind": "fake", "max_num_seqs": 2, "step_s": 0.5}  # longer than until the first loss
    with local_cluster("--nodes", 2, "--cpus", 2, "--gpus", 1, "--head-cpus", 1, *losses) as cluster:
        words = command(tmp_path, tiny_model, many, cluster.address, engine=engine, device="cuda")
        with running(*words, environment=cluster.environment) as scan:
            assert scan.end(300) == 0, scan.err
        lost = cluster.text.count("lost a node")
    print(f"nodes lost: {lost}")
    assert lost, "nothing has happened to it"
    folder = RunFolder(str(tmp_path / "run"), Store())
    rows = read_rows(folder)
    assert len(rows) == 600
    assert Counter(row["error_code"] for row in rows) == {None: 600}
    fakescan("verify", folder.url)


def test_a_device_that_cannot_be_had_is_one_line(pictures: Path, tiny_model: Path, tmp_path: Path) -> None:
    with local_cluster("--group", "cpu:0-2:2:0", "--head-cpus", 2) as cluster:
        words = command(tmp_path, tiny_model, pictures, cluster.address, engine="fake", device="cuda")
        ended = fakescan(*words, environment=cluster.environment, status=2)
        assert re.search(r"^fakescan: error: device: cuda needs a GPU; there is none", ended.err, re.MULTILINE)
        words = command(tmp_path, tiny_model, pictures, cluster.address, engine="fake", device="cuda", replicas=2)
        fakescan(*words, environment=cluster.environment, status=2)
        assert len(cluster.raylets()) == 1, "nothing was asked for"
