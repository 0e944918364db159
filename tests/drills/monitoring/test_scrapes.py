"""A scan, a server, a training and vLLM on one cluster: every metric that a dashboard or an alert names is scraped."""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.scan.config import ScanConfig
from fakescan.scan.driver import run_scan
from fakescan.train.config import TrainConfig
from fakescan.train.driver import run_train
from fakevlm.builtin import BUILT_IN
from tests.cluster_files.monitoring.metric_names import NOT_HERE, expressions, names_in
from tests.scan_process import SCRIPT
from tests.scrape import scraped, wait_for
from tests.serve_process import PAIRS, serving
from tests.striped import settings
from tests.web_server import Answer, Seen, WebServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

DEADLY = (255, 0, 254)


def named(prefix: str) -> set[str]:
    """Metrics of dashboards and rules whose name begins so."""
    return {name for _, expression in expressions() for name in names_in(expression) if name.startswith(prefix)}


@pytest.fixture(scope="module")
def seen(ray_cluster: str) -> set[str]:
    """All names seen in a scrape so far, which the tests of this module share."""
    return set()


def wait_until_seen(seen: set[str], wanted: set[str]) -> None:
    def look() -> set[str]:
        seen.update(sample.name for sample in scraped())
        return wanted - seen

    missing = wait_for(lambda missing: not missing, look)
    assert not missing


@pytest.fixture
def addresses(tmp_path: Path, web: WebServer) -> Path:
    """A list of images on a web server that throttles each of them once; some are the same, and one kills engines."""
    draw = np.random.default_rng(0)
    asked: set[str] = set()

    def answer(path: str, body: bytes) -> Callable[[Seen], Answer]:
        def respond(seen: Seen) -> Answer:
            if path not in asked:
                asked.add(path)
                return Answer(b"", 503)
            return Answer(body)

        return respond

    lines = []
    for number in range(60):
        colour = DEADLY if number == 30 else tuple(draw.integers(60, 200, 3).tolist())
        file = tmp_path / "image.png"
        Image.fromarray(np.full((84, 84, 3), colour, np.uint8)).save(file)
        for copy in range(2):
            path = f"/{number}-{copy}.png"
            web.answers[path] = answer(path, file.read_bytes())
            lines.append(web.url + path)
    found = tmp_path / "list.txt"
    found.write_text("\n".join([*lines, web.url + "/missing.png"]))
    return found


def test_a_scan(ray_cluster: str, seen: set[str], addresses: Path, tmp_path: Path) -> None:
    config = ScanConfig.model_validate(
        {
            "source": str(addresses), "output": str(tmp_path / "run"), "shard_rows": 4, "dedupe": True, "replicas": 2,
            "engine": SimulatedConfig(max_num_seqs=2, step_s=0.5, die_on_rgb=DEADLY), "max_fetch_error_rate": 1.0,
        }
    )  # fmt: skip
    outcome = run_scan(config)
    assert (outcome.scanned.rows, outcome.scanned.errors, outcome.copies) == (121, {"not_found": 1, "poison": 2}, 60)
    wait_until_seen(seen, named("ray_fakescan_scan_") | named("ray_fakescan_engine_") | named("ray_fakescan_store_"))
    counts = outcome.scanned
    by_outcome = {"real": counts.real, "fake": counts.fake, "uncertain": counts.uncertain, **counts.errors}
    wanted = {name: number for name, number in by_outcome.items() if number}
    run = outcome.run.run_id[:8]

    def rows() -> dict[str, float]:
        ours = [one for one in scraped() if one.name == "ray_fakescan_scan_rows_total" and one.labels["run"] == run]
        return {one.labels["outcome"]: one.value for one in ours if one.value}

    wait_for(lambda found: found == wanted, rows)
    ours = [sample for sample in scraped() if sample.labels.get("run") == run]
    assert sum(sample.value for sample in ours if sample.name == "ray_fakescan_scan_engine_restarts_total") >= 2


def test_a_training(ray_cluster: str, seen: set[str], tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    config = TrainConfig.model_validate(settings(tiny_model, labelled, tmp_path, zero=0, workers=1, eval_every=4))
    run_train(config, ray_address=ray_cluster)
    wait_until_seen(seen, named("ray_fakescan_train_"))

    def values() -> dict[str, float]:
        return {sample.name: sample.value for sample in scraped() if sample.labels.get("run") == "train"}

    by_name = wait_for(lambda found: found.get("ray_fakescan_train_running") == 0, values)
    assert by_name["ray_fakescan_train_step"] == by_name["ray_fakescan_train_steps"] == 10
    assert by_name["ray_fakescan_train_epoch"] == 2
    assert by_name["ray_fakescan_train_samples_total"] == 80
    assert by_name["ray_fakescan_train_checkpoints_total"] == 3
    assert (by_name["ray_fakescan_train_restarts_total"], by_name["ray_fakescan_train_running"]) == (0, 0)


def test_a_server(ray_cluster: str, seen: set[str], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    key = _key(keys, "client", "--expires", "3d")
    with serving(
        "--keys", keys, "--engine", "fake", "--ray-address", ray_cluster, key=key,
        environment={**os.environ, "RAY_AUTH_MODE": "token"},
    ) as server:  # fmt: skip
        with server.client() as client:
            for _ in range(3):
                files = [("images", (path.name, path.read_bytes())) for path in PAIRS[:4]]
                assert client.post("/v1/detect", files=files).status_code == 200
            assert client.get("/nothing").status_code == 404
        assert httpx.get(f"{server.url}/v1/models").status_code == 401
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30) as connection:
            connection.sendall(b"no HTTP at all\r\n\r\n")
            assert b" 400 " in connection.recv(1000)
        wait_until_seen(seen, named("ray_fakescan_serve_") | named("ray_serve_"))


def test_vllm_in_its_own_process(ray_cluster: str, seen: set[str]) -> None:
    import ray

    actor = ray.remote(num_cpus=1)(_Engine).remote()
    assert ray.get(actor.judge.remote()) == [None, None]
    wait_until_seen(seen, named("ray_vllm_"))
    ray.get(actor.close.remote())


class _Engine:
    def __init__(self) -> None:
        from fakescan.engine.start.start_up import StartUp
        from fakescan.engine.vllm_async import AsyncEngine
        from fakevlm.checkpoint.checkpoint import open_checkpoint

        checkpoint = open_checkpoint(str(BUILT_IN))
        options = JudgingOptions(explain="all", max_new_tokens=8)
        start = StartUp(own_process=True)
        self._engine = AsyncEngine(VllmConfig(max_num_seqs=4), checkpoint, options, "cpu", start)
        self._size = checkpoint.image.height, checkpoint.image.width

    def judge(self) -> list[str | None]:
        """What is wrong with each of two images."""
        return [one.error for one in self._engine.judge([np.zeros((*self._size, 3), np.uint8)] * 2)]

    def close(self) -> None:
        self._engine.close()


def test_everything_that_a_dashboard_or_an_alert_names_was_there(seen: set[str]) -> None:
    wanted = named("ray_") - NOT_HERE.keys()
    wait_until_seen(seen, {name for name in wanted if not name.startswith(("ray_fakescan", "ray_vllm", "ray_serve"))})
    assert not wanted - seen
    assert not NOT_HERE.keys() & seen, "no reason any more"


def _key(keys: Path, *arguments: str) -> str:
    command = [SCRIPT, "keys", "add", *arguments, "--file", str(keys)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
