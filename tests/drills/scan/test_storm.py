"""The storm: random faults in real processes while a scan runs on three nodes; every row is accounted for after each.

A storm prints its seed. The seeds of storms that failed are kept, and come first the next time.
"""

import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.conftest import Bucket, new_bucket
from tests.drill_images import drill_images
from tests.scan_process import ScanProcess, fakescan, read_rows
from tests.storage_server import SeaweedServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

STORMS, FAULTS = 10, 20
"""Storms, and faults in each."""
FAILED = Path(__file__).parents[3] / ".cache" / "storms-that-failed.json"
"""Seeds of storms that failed."""
SHARD_ROWS = 8
ENGINE = {"kind": "fake", "max_num_seqs": 4, "step_s": 0.15}
"""About 27 images a second."""
MAX_STOP_S = 4.0
"""For how long a stopped process stays stopped."""
RECOVERY_S = 120.0
"""Seconds in which a scan that was hit must have written another part."""

Rows = list[dict[str, Any]]


def seeds() -> list[int]:
    """Those of storms that failed, then new ones."""
    known: list[int] = json.loads(FAILED.read_text()) if FAILED.exists() else []
    return [*known, *(secrets.randbits(32) for _ in range(STORMS))][:STORMS]


@dataclass
class Cell:
    """Three nodes, a store, images in it, and what a scan of them says when nothing disturbs it."""

    cluster: Cluster
    server: SeaweedServer
    bucket: Bucket
    folder: Path
    model: Path
    images: int
    expected: Rows = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {"STORM_KEY": self.server.access_key, "STORM_SECRET": self.server.secret_key}

    @property
    def store(self) -> dict[str, Any]:
        options = {"key": "env:STORM_KEY", "secret": "env:STORM_SECRET"}
        return {"endpoint_url": self.server.endpoint_url, "region": "us-east-1", "options": options}

    def command(self, run: RunFolder, engine: dict[str, Any]) -> list[object]:
        config = self.folder / f"{secrets.token_hex(8)}.yaml"
        settings: dict[str, Any] = {
            "source": f"{self.bucket.url}/images",
            "output": run.url,
            "model": str(self.model),
            "engine": engine,
            "replicas": 2,
            "shard_rows": SHARD_ROWS,
            "fetch_timeout_s": 10,
            "input_store": self.store,
        }
        if run.url.startswith("s3:"):
            settings["output_store"] = self.store
        config.write_text(json.dumps(settings))  # JSON is YAML
        return ["scan", "--config", config, "--ray-address", self.cluster.address]


@pytest.fixture(scope="module")
def cell(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    folder = tmp_path_factory.mktemp("storm")
    images = [image for image in drill_images(800) if image.code is None]
    # The head has no CPUs, as on a cluster where it must outlive everything else: the driver is there.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=4)
        with SeaweedServer(folder / "seaweed") as server, ThreadPoolExecutor(8) as pool:
            bucket = new_bucket(server)
            list(pool.map(lambda image: bucket.put(f"images/{image.name}", image.data), images))
            cell = Cell(cluster, server, bucket, folder, tiny_model, len(images))
            run = RunFolder(f"{bucket.url}/undisturbed", bucket.store)
            fakescan(*cell.command(run, {**ENGINE, "step_s": 0}), environment=cell.environment)
            cell.expected = read_rows(run)
            assert len(cell.expected) == len(images)
            yield cell
    finally:
        cluster.shutdown()


@dataclass
class Storm:
    """A scan, what hits it, and the account of its rows."""

    cell: Cell
    run: RunFolder
    dice: random.Random
    small_disk: Path | None = None
    scan: ScanProcess | None = None
    starts: int = 0

    def rage(self, faults: int) -> None:
        """So many faults, in as many scans as that takes, and then the rest of the scan undisturbed."""
        hits = 0
        while hits < faults:
            self.start()
            before = self.parts()
            if not self.wait_for_parts(before + self.dice.randrange(1, 4)):
                self.assert_whole()  # it was through before it was hit; the next one scans again
                self.forget()
                continue
            name = self.dice.choice(sorted(self.faults()))
            print(f"  {hits + 1:3} {name}, at {self.parts()} parts", flush=True)
            self.faults()[name]()
            hits += 1
            self.assert_recovers()
            self.assert_sound()
        self.start()
        self.wait_for_parts(10**9)
        self.assert_whole()

    def faults(self) -> dict[str, Callable[[], None]]:
        """By name; each is over when its function returns, except for what the scan is to get over."""
        found: dict[str, Callable[[], None]] = {
            "driver killed": self.kill_driver,
            "driver stopped": lambda: self.stop([psutil.Process(self.alive().pid)]),
            "engine killed": lambda: self.kill(self.workers("JudgeAndWrite")),
            "engine stopped": lambda: self.stop(self.workers("JudgeAndWrite")),
            "decoder killed": lambda: self.kill(self.workers("Feed")),
            "decoder stopped": lambda: self.stop(self.workers("Feed")),
            "ledger killed": lambda: self.kill(self.workers("Ledger")),
            "raylet killed": self.kill_raylet,
            "raylet stopped": lambda: self.stop([self.raylet_of(self.some_node())]),
            "node removed": self.remove_node,
            "store killed": self.kill_store,
            "store stopped": lambda: self.stop(self.store_processes()),
        }
        return {"disk full": self.fill_disk} if self.small_disk else found

    def alive(self) -> ScanProcess:
        assert self.scan is not None
        return self.scan

    def start(self) -> None:
        """Start the scan, or see that it is still at work."""
        if self.scan is not None and not self.scan.has_ended:
            return
        self.clean_up()
        arguments = self.cell.command(self.run, ENGINE)
        self.scan = ScanProcess(*arguments, environment=self.cell.environment)
        self.starts += 1

    def clean_up(self) -> None:
        if self.scan is not None:
            self.scan.clean_up()

    def parts(self) -> int:
        return len(self.run.shards())

    def wait_for_parts(self, count: int, timeout_s: float = 600.0) -> bool:
        """Wait until the run has so many parts; False when the scan has come to its end before."""
        deadline = time.monotonic() + timeout_s
        while self.parts() < count:
            if self.alive().has_ended:
                status = self.alive().end()
                full = self.small_disk is not None and "No space left" in self.alive().err
                assert status == 0 or (full and status == 1), f"exit status {status}\n{self.alive().err}"
                return False
            assert time.monotonic() < deadline, f"no {count} parts\n{self.alive().err}"
            time.sleep(0.05)
        return True

    def assert_recovers(self) -> None:
        """Another part is written, or all are there."""
        before = self.parts()
        if before * SHARD_ROWS >= self.cell.images:
            return
        self.start()
        self.wait_for_parts(before + 1, RECOVERY_S)

    def assert_sound(self) -> None:
        """What is there is whole, and right."""
        run = self.run.open()
        for shard, facts in zip(shards := self.run.shards(), self.run.facts(run, shards), strict=True):
            assert facts is not None, f"part {shard} is damaged"
            assert facts.counts.failed == 0, f"part {shard} has errors: {facts.counts.errors}"

    def assert_whole(self) -> None:
        """Every row is there once, and what it would be if nothing had happened."""
        names = ["row_id", "uri", "sha256", "width", "height", "format", "num_bytes", "verdict", "error_code", "score"]
        rows = read_rows(self.run)
        assert [{name: row[name] for name in names} for row in rows] == [
            {name: row[name] for name in names} for row in self.cell.expected
        ]

    def forget(self) -> None:
        """Another run for the faults that are left."""
        self.clean_up()
        self.scan = None
        folder, _, _ = self.run.url.rpartition("/")
        self.run = RunFolder(f"{folder}/{secrets.token_hex(4)}", self.run.store)

    def workers(self, stage: str) -> list[psutil.Process]:
        """The processes of a stage; waits until there is one."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not self.alive().has_ended:
            found = [process for process in all_below() if stage in title(process)]
            if found:
                return found
            time.sleep(0.05)
        return []

    def kill(self, processes: list[psutil.Process]) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            self.dice.choice(processes).kill()

    def stop(self, processes: list[psutil.Process]) -> None:
        """SIGSTOP, and some seconds later SIGCONT."""
        if not processes:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            chosen = self.dice.choice(processes)
            chosen.send_signal(signal.SIGSTOP)
            time.sleep(self.dice.uniform(0.5, MAX_STOP_S))
            chosen.send_signal(signal.SIGCONT)

    def kill_driver(self) -> None:
        self.alive().kill()

    def some_node(self) -> Any:
        return self.dice.choice(sorted(self.cell.cluster.worker_nodes, key=lambda node: node.node_id))

    def raylet_of(self, node: Any) -> psutil.Process:
        return psutil.Process(node.all_processes["raylet"][0].process.pid)

    def kill_raylet(self) -> None:
        node = self.some_node()
        self.raylet_of(node).kill()
        self.replace(node)

    def remove_node(self) -> None:
        self.replace(self.some_node())

    def replace(self, node: Any) -> None:
        """A node goes; another one comes a little later."""
        self.cell.cluster.remove_node(node, allow_graceful=False)
        time.sleep(self.dice.uniform(0, 2))
        self.cell.cluster.add_node(num_cpus=4)

    def kill_store(self) -> None:
        self.cell.server.kill()
        time.sleep(self.dice.uniform(0, 3))
        self.cell.server.start()

    def store_processes(self) -> list[psutil.Process]:
        return [process for process in all_below() if "weed" in title(process).split(" ")[0]]

    def fill_disk(self) -> None:
        assert self.small_disk is not None
        ballast = self.small_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(2**16))
        time.sleep(self.dice.uniform(0.5, MAX_STOP_S))
        ballast.unlink()


def all_below() -> list[psutil.Process]:
    return psutil.Process(os.getpid()).children(recursive=True)


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@contextlib.contextmanager
def remembered(seed: int) -> Iterator[None]:
    """The seed of a storm that fails is kept for the next time, and forgotten when it passes."""
    known = set(json.loads(FAILED.read_text()) if FAILED.exists() else [])
    try:
        yield
        known.discard(seed)
    except BaseException:
        known.add(seed)
        raise
    finally:
        FAILED.parent.mkdir(exist_ok=True)
        FAILED.write_text(json.dumps(sorted(known)))


@pytest.mark.parametrize("number", range(STORMS))
def test_a_storm(cell: Cell, number: int) -> None:
    seed = seeds()[number]
    print(f"\nstorm {number + 1} of {STORMS}, seed {seed}", flush=True)
    run = RunFolder(f"{cell.bucket.url}/storm-{seed}", cell.bucket.store)
    storm = Storm(cell, run, random.Random(seed))
    with remembered(seed):
        try:
            storm.rage(FAULTS)
        finally:
            storm.clean_up()


def test_a_disk_that_fills_up_again_and_again(cell: Cell, tmp_path: Path) -> None:
    """The scan stops with one line, and the same command goes on when there is room."""
    seed = secrets.randbits(32)
    print(f"\nfull disk, seed {seed}", flush=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"this machine lets nobody mount a small disk: {mounted.stderr.decode().strip()}")
    storm = Storm(cell, RunFolder(str(disk / "run"), Store()), random.Random(seed), small_disk=disk)
    try:
        storm.rage(FAULTS // 2)
    finally:
        storm.clean_up()
        subprocess.run(["umount", "-l", disk], check=True)
