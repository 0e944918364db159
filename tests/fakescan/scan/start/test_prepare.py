"""Prepare: the user's threshold and the checkpoint's calibration, the model's name, the start of a run."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.model import model_name
from fakescan.run.folder import RunFolder
from fakescan.run.identity import Identity
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile
from fakescan.scan.config import ScanConfig
from fakescan.scan.start.prepare import check, identity_of, resumes, start_run
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration
from tests.fakescan.run.conftest import make_run, result_rows

pytestmark = pytest.mark.unit


def judging_options(config: ScanConfig, checkpoint: Checkpoint) -> JudgingOptions:
    """What a scan tells its engines."""
    return config.options(checkpoint, config.explain, config.output_store)


def named(settings: ScanConfig, checkpoint: Checkpoint) -> tuple[str, str | None]:
    return model_name(settings.model, settings.engine, checkpoint)


@pytest.fixture(scope="module")
def checkpoint(tiny_model: Path) -> Checkpoint:
    return open_checkpoint(str(tiny_model))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.jpg").write_bytes(b"x")
    return folder


def config(**settings: Any) -> ScanConfig:
    return ScanConfig.model_validate({"source": "/images", "output": "/out", "engine": {"kind": "fake"}, **settings})


def test_a_calibration_from_a_file_or_the_settings_takes_the_place_of_the_checkpoints(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    file = tmp_path / "calibration.json"
    file.write_text('{"temperature": 2.0, "threshold": 0.8}')
    wanted = Calibration(temperature=2.0, threshold=0.8)
    assert judging_options(config(calibration=str(file)), checkpoint).calibration == wanted
    assert judging_options(config(calibration={"temperature": 2.0, "threshold": 0.8}), checkpoint).calibration == wanted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^calibration: cannot read .*calibration\.json"),
        ("{", r"^calibration: .*calibration.json: .*Invalid JSON"),
        ('{"temperature": 0}', r"^calibration: .*calibration.json: temperature: Input should be greater than 0"),
        ('{"T": 1}', r"^calibration: .*calibration.json: T: unknown setting"),
    ],
)
def test_a_calibration_that_cannot_be_used(
    checkpoint: Checkpoint, content: str | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "calibration.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=message):
        judging_options(config(calibration=str(file)), checkpoint)


@pytest.mark.parametrize(
    ("stored", "threshold", "wanted"),
    [
        ({"threshold": 0.7, "bias": 1.0}, None, {"threshold": 0.7, "bias": 1.0}),
        ({"threshold": 0.7, "bias": 1.0}, 0.9, {"threshold": 0.9, "bias": 1.0}),
        (
            {"uncertain_low": 0.4, "uncertain_high": 0.6},
            0.55,
            {"threshold": 0.55, "uncertain_low": 0.4, "uncertain_high": 0.6},
        ),
        ({"uncertain_low": 0.4, "uncertain_high": 0.6}, 0.9, {"threshold": 0.9}),
        ({"uncertain_low": 0.4, "uncertain_high": 0.6}, 0.1, {"threshold": 0.1}),
        (
            {"threshold": 0.9, "uncertain_low": 0.4, "uncertain_high": 0.9},
            0.7,
            {"threshold": 0.7, "uncertain_low": 0.4, "uncertain_high": 0.7},
        ),
        ({"threshold": 0.9, "uncertain_low": 0.4, "uncertain_high": 0.9}, 0.3, {"threshold": 0.3}),
    ],
)
def test_the_users_threshold_and_the_checkpoints_calibration(
    checkpoint: Checkpoint, stored: dict[str, float], threshold: float | None, wanted: dict[str, float]
) -> None:
    calibrated = replace(checkpoint, calibration=Calibration.model_validate(stored))
    options = judging_options(config(threshold=threshold, explain="all", max_new_tokens=9), calibrated)
    assert options == JudgingOptions(explain="all", calibration=Calibration.model_validate(wanted), max_new_tokens=9)


def test_every_result_says_when_its_verdict_means_nothing(checkpoint: Checkpoint) -> None:
    trained = replace(checkpoint, trained=True)
    name, warning = named(config(), trained)
    assert name == "fake-engine"
    assert warning is not None
    assert "simulated" in warning
    name, warning = named(config(engine={"kind": "vllm"}, model="tiny"), checkpoint)
    assert name == "tiny (untrained)"
    assert warning is not None
    assert "--model" in warning
    limited = replace(trained, notice="knows birds only")
    assert named(config(engine={"kind": "vllm"}), limited) == (
        "builtin-small", "the model builtin-small knows birds only"
    )  # fmt: skip
    signed = "https://user:hidden@host/model?X-Amz-Signature=hidden"
    assert named(config(engine={"kind": "vllm"}, model=signed), trained) == ("https://host/model", None)


def begin(images: Path, output: Path, checkpoint: Checkpoint, **settings: Any) -> tuple[RunFolder, Any]:
    wanted = config(source=str(images), output=str(output), **settings)
    folder = RunFolder(str(output), Store())
    identity = identity_of(wanted, checkpoint, judging_options(wanted, checkpoint))
    return folder, start_run(wanted, folder, identity, checkpoint)


def test_a_run_starts_with_its_manifest_and_its_file(images: Path, tmp_path: Path, checkpoint: Checkpoint) -> None:
    folder, run = begin(images, tmp_path / "run", checkpoint)
    assert folder.open() == run
    assert (run.rows, run.population, run.shard_rows) == (40, 40, 16)
    assert run.sharding.count == 3
    assert run.warning is not None


def test_the_users_cut_and_some_images(images: Path, tmp_path: Path, checkpoint: Checkpoint) -> None:
    _, run = begin(images, tmp_path / "run", checkpoint, shard_rows=7, limit=20)
    assert (run.rows, run.population, run.shard_rows) == (20, 40, 7)
    assert run.identity.selection.is_partial


def test_parts_without_their_run_are_never_taken_for_results(
    images: Path, tmp_path: Path, checkpoint: Checkpoint
) -> None:
    (tmp_path / "run" / "parts").mkdir(parents=True)
    (tmp_path / "run" / "parts" / "part-00000000.parquet").touch()
    with pytest.raises(UserError, match=r"holds parts but no run\.json; use an empty --output"):
        begin(images, tmp_path / "run", checkpoint)


def test_a_start_leaves_other_files_of_the_folder_alone(images: Path, tmp_path: Path, checkpoint: Checkpoint) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "README.txt").write_text("mine")
    begin(images, tmp_path / "run", checkpoint)
    assert (tmp_path / "run" / "README.txt").read_text() == "mine"


def test_what_is_wrong_is_found_before_anything_is_written(
    images: Path, tmp_path: Path, checkpoint: Checkpoint
) -> None:
    with pytest.raises(UserError):
        check(config(source=str(images), output=str(tmp_path / "run"), model=str(tmp_path / "no-model")))
    assert not list((tmp_path / "run").iterdir())
    found = check(config(source=str(images), output=str(tmp_path / "run"), model=checkpoint.location))
    assert found == checkpoint


def finished(folder: RunFolder, run: RunFile) -> None:
    """Give a run its parts."""
    reader = folder.manifest(run)
    for shard in range(run.sharding.count):
        rows = reader.rows(run.sharding.first(shard), run.sharding.size(shard))
        folder.write_part(shard, part_bytes(result_rows(run, rows), run.sharding, shard))


@pytest.fixture
def begun(checkpoint: Checkpoint, images: Path, tmp_path: Path) -> tuple[ScanConfig, RunFolder, Identity]:
    """A run whose first parts exist."""
    settings = config(source=str(images), output=str(tmp_path / "run"))
    folder = RunFolder(settings.output, Store())
    identity = identity_of(settings, checkpoint, judging_options(settings, checkpoint))
    finished(folder, start_run(settings, folder, identity, checkpoint))
    return settings, folder, identity


def test_a_run_whose_manifest_is_as_it_was_is_resumed(begun: tuple[ScanConfig, RunFolder, Identity]) -> None:
    _, folder, identity = begun
    assert resumes(folder, folder.open(), identity, None)


def other_info(folder: RunFolder, other: RunFolder) -> None:
    shutil.rmtree(f"{folder.path}/manifest")
    shutil.copytree(f"{other.path}/manifest", f"{folder.path}/manifest")


def other_rows(folder: RunFolder, other: RunFolder) -> None:
    shutil.copy(f"{other.path}/manifest/part-00000.parquet", f"{folder.path}/manifest")


def no_rows(folder: RunFolder, other: RunFolder) -> None:
    Path(folder.path, "manifest", "part-00000.parquet").unlink()


def damaged_rows(folder: RunFolder, other: RunFolder) -> None:
    Path(folder.path, "manifest", "part-00000.parquet").write_bytes(b"PAR1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_info, "is not the manifest that this run was started with"),
        (other_rows, "is not the manifest that this run was started with"),
        (no_rows, "cannot be read"),
        (damaged_rows, "cannot be read"),
    ],
)
def test_a_manifest_that_was_replaced_under_a_run_is_refused(
    begun: tuple[ScanConfig, RunFolder, Identity],
    tmp_path: Path,
    change: Callable[[RunFolder, RunFolder], None],
    words: str,
) -> None:
    _, folder, identity = begun
    other = RunFolder(str(tmp_path / "other"), Store())
    make_run(other, rows=40)
    change(folder, other)
    with pytest.raises(UserError, match=f"^output: .*{words}.*restore.*or use another --output$"):
        resumes(folder, folder.open(), identity, None)
