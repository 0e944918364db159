"""Pipeline: the executed plan keeps the stages apart, and a shard stays one block from its number to its summary."""

import logging
from pathlib import Path

import numpy as np
import pytest

from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import new_run
from fakescan.scan.judge import JudgeSettings
from fakescan.scan.ledger import remote_ledger
from fakescan.scan.pipeline import Pipeline
from fakescan.scan.stages import Decode, Fetch, Write
from fakescan.scan.tables import PartSummary
from fakescan.settings.replicas import Replicas
from fakescan.sources.manifest import write_manifest
from fakescan.sources.source import open_source
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.reading import Meaning, Reader
from fakevlm.verdict import Calibration
from tests.fakescan.run.conftest import identity

SHARD_ROWS = 4


@pytest.fixture
def checkpoint(tiny_model: Path) -> Checkpoint:
    return open_checkpoint(str(tiny_model))


def pipeline(
    folder: Path,
    checkpoint: Checkpoint,
    engine: SimulatedConfig | VllmConfig,
    *,
    shard_rows: int = SHARD_ROWS,
    gpus: float = 0.0,
) -> Pipeline:
    started = (
        RunFolder(str(folder), Store()),
        new_run(identity(), "m", None, fingerprint="f", rows=30, population=30, shard_rows=shard_rows),
    )
    return Pipeline(
        fetch=Fetch(*started, Store(), 2**20, 4, 10.0, False),
        decode=Decode(checkpoint.image, 10**7),
        judge=JudgeSettings(
            engine=engine,
            device="cuda" if gpus else "cpu",
            model=checkpoint.location,
            model_store=Store(),
            model_name="m",
            weights_sha256=checkpoint.weights_sha256,
            options=JudgingOptions(),
            run_id="pipeline-test",
            shard_rows=shard_rows,
            reader=Reader(Meaning.NONE, Calibration(), checkpoint.image),
        ),
        write=Write(*started),
        replicas=Replicas(),
        gpus_per_replica=gpus,
        shard_rows=shard_rows,
    )


@pytest.mark.cluster
def test_the_executed_plan_keeps_the_stages_apart(
    ray_cluster: str, pictures: Path, tmp_path: Path, checkpoint: Checkpoint
) -> None:
    """Ray fuses a task stage into an actor stage of the same resources: decoding would run in the engine's actor."""
    filesystem, path = Store().filesystem(str(tmp_path / "manifest"))
    write_manifest(open_source(str(pictures), Store()), filesystem, path)
    stages = pipeline(tmp_path, checkpoint, SimulatedConfig())
    dataset = stages.dataset(np.array([0, 3, 7]), remote_ledger())
    summaries = [PartSummary.from_row(row) for row in dataset.iter_rows()]
    assert sorted((part.shard, part.counts.rows) for part in summaries) == [(0, 4), (3, 4), (7, 2)]
    executed = [
        line.split(":")[0].split(" ", 2)[2].strip()
        for line in dataset.stats().splitlines()
        if line.startswith("Operator ")
    ]
    stages_in_order = [f"MapBatches({stage})" for stage in ("Feed", "JudgeAndWrite")]
    assert executed == ["FromBlocks", *stages_in_order], dataset.stats()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        f"part-{shard:08}.parquet" for shard in (0, 3, 7)
    ]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("engine", "shard_rows", "gpus", "rows"),
    [
        (SimulatedConfig(max_num_seqs=32), 16, 0.0, 36),
        (SimulatedConfig(max_num_seqs=256), 256, 0.0, 282),
        (VllmConfig(), 256, 0.0, 36),
        (VllmConfig(), 256, 1.0, 1127),
        (VllmConfig(max_num_seqs=2048), 16, 1.0, 2253),
    ],
)
def test_an_engine_always_has_more_rows_at_hand_than_places(
    tmp_path: Path,
    checkpoint: Checkpoint,
    engine: SimulatedConfig | VllmConfig,
    shard_rows: int,
    gpus: float,
    rows: int,
) -> None:
    """In flight per engine: at least 1.1 times the requests that it runs at once, and a shard being finished."""
    stages = pipeline(tmp_path, checkpoint, engine, shard_rows=shard_rows, gpus=gpus)
    assert (stages.shards_in_flight() - 1) * shard_rows >= rows
    assert (stages.shards_in_flight() - 3) * shard_rows < rows


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
