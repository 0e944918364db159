"""Scans with `dedupe`: engines judge each content once, and every image has the row that it has without."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
from PIL import Image

from fakescan.engine.config import SimulatedConfig
from fakescan.run.folder import RunFolder
from fakescan.run.verify import verify
from fakescan.scan.config import ScanConfig
from fakescan.scan.driver import run_scan
from fakescan.scan.execution import ScanOutcome
from fakescan.scan.start.explicit_images import ExplicitImages
from fakescan.scan.tables import PartSummary
from fakescan.sources.manifest import conform
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.scan_process import read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]

CONTENTS, COPIES = 12, 8
FILES = CONTENTS * COPIES
ENGINE = SimulatedConfig(max_num_seqs=4, step_s=0.01)
"""An image takes one step, so that `EngineStats.running` counts images."""

Rows = list[dict[str, Any]]
Scan = Callable[..., ScanOutcome]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 files, of which every 12 neighbours have the same 12 contents in another order; for reading only."""
    contents, folder = tmp_path_factory.mktemp("contents"), tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    names = itertools.count()
    for content in range(CONTENTS):
        pixels = random.integers(60, 200, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((90, 84)).save(contents / f"{content}.png")
    for _ in range(COPIES):
        for content in random.permutation(CONTENTS):
            shutil.copy(contents / f"{content}.png", folder / f"{next(names):04}.png")
    return folder


@pytest.fixture
def scan(images: Path, tmp_path: Path, tiny_model: Path) -> Scan:
    """Scans the images, or those in another folder, into the folder of this name."""

    def run(
        output: str, observe: Callable[[PartSummary], None] | None = None, source: Path = images, **settings: Any
    ) -> ScanOutcome:
        places = {"source": str(source), "output": str(tmp_path / output), "model": str(tiny_model)}
        usual = {"engine": ENGINE, "replicas": 2, "shard_rows": 6}
        return run_scan(ScanConfig.model_validate({**places, **usual, **settings}), observe=observe)

    return run


@pytest.fixture(scope="module")
def plain_scan(
    ray_cluster: str, images: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> ScanOutcome:
    """The scan without `dedupe`; its run is for reading only."""
    output = tmp_path_factory.mktemp("plain") / "run"
    config = ScanConfig(source=str(images), output=str(output), model=str(tiny_model), engine=ENGINE, shard_rows=6)
    engines = Engines()
    outcome = run_scan(config, observe=engines)
    assert (engines.total, outcome.copies) == (FILES, 0)
    return outcome


@pytest.fixture(scope="module")
def plain(plain_scan: ScanOutcome) -> Rows:
    """What it says."""
    return facts(plain_scan)


OF_A_RUN = ("scanned_at", "run_id", "source_key", "etag", "version", "last_modified")
"""Columns that differ from run to run, and from a file to its copy."""


class Engines:
    """Counts what the engines of a scan have judged."""

    def __init__(self) -> None:
        self.judged: dict[str, int] = {}

    def __call__(self, part: PartSummary) -> None:
        """Read the engine's counter that came with a part."""
        engine = part.engine["id"]
        self.judged[engine] = max(self.judged.get(engine, 0), part.engine["running"])

    @property
    def total(self) -> int:
        return sum(self.judged.values())


def facts(outcome: ScanOutcome) -> Rows:
    """The rows of a sound run without what differs from run to run."""
    folder = RunFolder(outcome.url, Store())
    assert verify(folder).problems == []
    rows = [{**row, "uri": Path(row["uri"]).name} for row in read_rows(folder)]
    return [{name: value for name, value in row.items() if name not in OF_A_RUN} for row in rows]


@pytest.mark.parametrize("shard_rows", [6, FILES])
def test_copies_in_many_shards_on_two_engines_and_in_one_shard_are_judged_once(
    scan: Scan, plain: Rows, shard_rows: int
) -> None:
    engines = Engines()
    outcome = scan("run", engines, dedupe=True, shard_rows=shard_rows)
    assert facts(outcome) == plain
    assert engines.total == CONTENTS
    assert outcome.copies == FILES - CONTENTS


def test_a_resumed_run_copies_from_its_parts(scan: Scan, plain_scan: ScanOutcome, plain: Rows, tmp_path: Path) -> None:
    """A run may be resumed with or without `dedupe`."""
    folder = RunFolder(str(shutil.copytree(plain_scan.url, tmp_path / "run")), Store())
    for shard in (0, 1, 7, 15):
        Path(folder.part(shard)).unlink()
    engines = Engines()
    outcome = scan("run", engines, dedupe=True)
    assert outcome.scanned.rows == outcome.copies == 24
    assert engines.total == 0
    assert facts(outcome) == plain
    for shard in range(1, 16):
        Path(folder.part(shard)).unlink()
    known = {row["sha256"] for row in plain[:6]}
    engines = Engines()
    outcome = scan("run", engines, dedupe=True)
    assert engines.total == CONTENTS - len(known)
    assert outcome.copies == FILES - 6 - engines.total
    assert facts(outcome) == plain
    Path(folder.part(0)).unlink()
    outcome = scan("run", dedupe=False)
    assert (outcome.scanned.rows, outcome.copies) == (6, 0)
    assert facts(outcome) == plain


def test_a_retry_of_errors_copies_what_the_run_knows(scan: Scan, images: Path, plain: Rows, tmp_path: Path) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    outcome = scan("run", source=source, dedupe=True)
    folder = RunFolder(outcome.url, Store())
    lost = sorted(source.iterdir())[7:40:8]
    for path in lost:
        path.rename(hidden / path.name)
    for shard in range(8):
        Path(folder.part(shard)).unlink()
    outcome = scan("run", source=source, dedupe=True)
    assert outcome.scanned.errors == {"not_found": len(lost)}
    assert (outcome.unreadable, outcome.copies) == (len(lost), 48 - len(lost))
    for path in lost:
        (hidden / path.name).rename(path)
    engines = Engines()
    outcome = scan("run", engines, source=source, dedupe=True, retry_errors=True)
    assert outcome.scanned.rows == outcome.copies == len(lost)
    assert engines.total == 0
    assert facts(outcome) == plain


def test_distorted_images_are_not_taken_for_copies(images: Path, tmp_path: Path, tiny_model: Path) -> None:
    config = ScanConfig(source=str(images), output=str(tmp_path / "run"), model=str(tiny_model), dedupe=True)
    entries = conform(pa.table({"uri": [str(path) for path in sorted(images.iterdir())]}))
    with pytest.raises(UserError, match=r"^dedupe: .* leave it out$"):
        run_scan(config, images=ExplicitImages(entries, ("none", "jpeg70")))
    assert not (tmp_path / "run").exists()


def judges() -> list[psutil.Process]:
    """The processes of this cluster's engines."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "MapBatches(JudgeAndWrite)" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def restarts() -> int:
    """How often Ray has started an actor of this cluster anew."""
    import ray

    return sum(int(actor["NumRestarts"]) for actor in ray._private.state.actors().values())
