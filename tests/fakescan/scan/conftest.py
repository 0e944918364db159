"""A scan that several modules hold theirs against, or go on with."""

import signal
from pathlib import Path

import pytest

from fakescan.cli.main import main


@pytest.fixture(scope="session")
def first_scan(ray_cluster: str, pictures: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a scan of the pictures by the fake engine, in parts of eight; for reading only."""
    output = tmp_path_factory.mktemp("first") / "run"
    words = ["scan", pictures, "-o", output, "--shard-rows", 8, "--model", tiny_model, "--engine", "fake"]
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in words])
    signal.signal(signal.SIGTERM, before)
    assert not exit.value.code
    return output
