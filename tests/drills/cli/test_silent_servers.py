"""Servers that take a connection and never answer: one line within half a minute, whichever command it is."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakescan.cli.test_servers import LIMIT_S, environment, images, run, silent
from tests.silent_server import SilentServer

__all__ = ["images", "silent"]

pytestmark = pytest.mark.unit


def test_silent_servers(silent: SilentServer, images: Path, tmp_path: Path) -> None:
    """All at once, since each takes its time."""
    scan, out = ["scan", images, "-o", tmp_path / "out", "--engine", "fake"], tmp_path / "out"
    key = ["--input-option", "key=k", "--input-option", "secret=s"]
    commands: list[list[object]] = [
        [*scan, "--model", "owner/tiny"],
        [*scan, "--model", f"{silent.url}/model"],
        ["scan", f"{silent.url}/list.csv", "-o", out, "--engine", "fake"],
        ["index", "s3://b/*.jpg", "-o", out, "--input-endpoint", silent.url, *key],
        ["scan", "gs://b/x", "-o", out, "--input-endpoint", silent.url, "--input-anon"],
        ["verify", "s3://b/run", "--output-endpoint", silent.url, "--output-anon"],
    ]
    env = environment(tmp_path, HF_ENDPOINT=silent.url)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda command: run(*command, env=env), commands))
    for command, (status, said, seconds) in zip(commands, answers, strict=True):
        assert status == 2, (command, said)
        *stages, last = said.splitlines()
        assert all(re.fullmatch(r"[a-z, ]+ \(\d+ s\)", stage) for stage in stages), (command, said)
        assert last.startswith("fakescan: error: "), (command, said)
        assert "no answer" in said, (command, said)
        assert seconds < LIMIT_S, (command, seconds)
