"""Selection: which images of a source a run covers."""

import itertools
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile, new_run
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.scan.config import ScanConfig
from fakescan.scan.start.selection import write_run_manifest
from fakescan.sources.manifest import ManifestInfo, ManifestReader
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.fakescan.run.conftest import identity, result_rows
from tests.fakevlm.data.labelled import png

pytestmark = pytest.mark.unit

_runs = itertools.count()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of 200 files that look like images by their names."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03}.jpg").write_bytes(b"x" * (number + 1))
    (folder / "notes.txt").write_bytes(b"x")
    return folder


def select(source: Path, tmp_path: Path, **settings: Any) -> tuple[pa.Table, ManifestInfo, int, RunFolder]:
    """The manifest of a new run, its info, the size of the source, and the run's folder."""
    output = str(tmp_path / f"run-{next(_runs)}")
    folder = RunFolder(output, Store())
    config = ScanConfig.model_validate({"source": str(source), "output": output, **settings})
    info, population = write_run_manifest(config, folder)
    rows = ManifestReader(f"{output}/manifest", Store()).rows(0, info.rows)
    assert rows["row_id"].to_pylist() == list(range(info.rows))
    return rows, info, population, folder


def names(rows: pa.Table) -> list[str]:
    return [Path(uri).name for uri in rows["uri"].to_pylist()]


def finish(folder: RunFolder, info: ManifestInfo, new_since: str | None = None) -> RunFile:
    """Make a finished run of the folder; every seventh row ended in `not_found`."""
    whole = identity()
    selection = whole.selection.model_copy(update={"new_since": new_since})
    run = new_run(
        whole.model_copy(update={"selection": selection}),
        "m",
        None,
        fingerprint=info.fingerprint,
        rows=info.rows,
        population=info.rows,
        shard_rows=16,
    )
    folder.save(run)
    for shard in range(run.sharding.count):
        write_results(folder, run, shard)
    return run


def write_results(folder: RunFolder, run: RunFile, shard: int, **change: Any) -> None:
    """Write a part; `change` are columns in which its first row differs."""
    sharding = run.sharding
    rows = folder.manifest(run).rows(sharding.first(shard), sharding.size(shard))
    first, *others = result_rows(run, rows).to_pylist()
    table = pa.Table.from_pylist([{**first, **change}, *others], RESULT_SCHEMA)
    folder.write_part(shard, part_bytes(table, sharding, shard))


def test_all_images_of_a_source(images: Path, tmp_path: Path) -> None:
    rows, info, population, _ = select(images, tmp_path)
    assert sorted(names(rows)) == [f"{number:03}.jpg" for number in range(200)]
    assert (info.rows, population) == (200, 200)
    assert info.skipped_by_extension == {".txt": 1}


@pytest.mark.parametrize("limit", [1, 7, 200, 1000])
def test_the_first_rows(images: Path, tmp_path: Path, limit: int) -> None:
    every = names(select(images, tmp_path)[0])
    rows, info, population, _ = select(images, tmp_path, limit=limit)
    assert names(rows) == every[:limit]
    assert (info.rows, population) == (min(limit, 200), 200), "the estimate needs the size of the whole source"


@pytest.mark.parametrize("sample", [1, 7, 150, 200, 1000])
def test_random_rows(images: Path, tmp_path: Path, sample: int) -> None:
    every = names(select(images, tmp_path)[0])
    rows, info, population, _ = select(images, tmp_path, sample=sample)
    assert (info.rows, population) == (min(sample, 200), 200)
    chosen = names(rows)
    assert len(set(chosen)) == info.rows
    assert [name for name in every if name in set(chosen)] == chosen, "in the order of the source"
    if 7 <= sample < 200:
        assert chosen != every[:sample]
        assert {int(name[:3]) // 100 for name in chosen} == {0, 1}
    assert names(select(images, tmp_path, sample=sample)[0]) == chosen, "a resumed run must draw the same"


def test_globs_and_extensions(images: Path, tmp_path: Path) -> None:
    assert names(select(images, tmp_path, globs=["00?.jpg", "01[01].jpg"])[0]) == [
        f"{number:03}.jpg" for number in range(12)
    ]
    assert names(select(images, tmp_path, extensions=["txt"])[0]) == ["notes.txt"]


def test_what_is_excluded_and_what_has_no_extension(images: Path, tmp_path: Path) -> None:
    (images / "key").write_bytes(png())
    rows, info, _, _ = select(images, tmp_path, exclude=["[01]*", "*9.jpg"])
    assert names(rows) == ["key"]
    assert info.left_out == {"with names that were not asked for": 200, "with other extensions": 1}
    every = select(images, tmp_path, extensions=["any"])[0]
    assert {"key", "notes.txt"} < set(names(every))


def test_links_out_of_the_allowed_prefixes_are_not_looked_at(images: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(png())
    (images / "key").symlink_to(tmp_path / "secret")
    rows, info, _, _ = select(images, tmp_path, allowed_prefixes=[str(images)])
    assert "key" not in names(rows)
    assert info.left_out["with names that do not say what they are, outside the allowed prefixes"] == 1


def test_names_that_come_twice_in_tars_are_rows_once_below_allowed_prefixes_too(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    with tarfile.open(folder / "0.tar", "w") as archive:
        for _ in range(2):
            info = tarfile.TarInfo("a.jpg")
            archive.addfile(info)
    rows, found, _, _ = select(folder, tmp_path, allowed_prefixes=[str(folder)])
    assert (rows.num_rows, found.duplicates) == (1, 1)


def test_nothing_to_scan_is_one_clear_error(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images found"):
        select(images, tmp_path, globs=["*.png"])


def test_new_since_takes_what_is_new_and_what_has_changed(images: Path, tmp_path: Path) -> None:
    _, info, _, earlier = select(images, tmp_path)
    finish(earlier, info)
    assert select(images, tmp_path, new_since=earlier.url)[1].rows == 0, "nothing is new, and that is no mistake"
    (images / "new.jpg").write_bytes(b"new")
    (images / "005.jpg").write_bytes(b"another size")
    status = (images / "007.jpg").stat()
    os.utime(images / "007.jpg", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    (images / "009.jpg").unlink()
    rows, _, population, _ = select(images, tmp_path, new_since=earlier.url)
    assert sorted(names(rows)) == ["005.jpg", "007.jpg", "new.jpg"]
    assert population == 3
    assert names(select(images, tmp_path, new_since=earlier.url, limit=2)[0]) == names(rows)[:2]


def test_new_since_follows_the_chain_of_runs(images: Path, tmp_path: Path) -> None:
    _, info, _, first = select(images, tmp_path)
    finish(first, info)
    (images / "second.jpg").write_bytes(b"second")
    rows, info, _, second = select(images, tmp_path, new_since=first.url)
    assert names(rows) == ["second.jpg"]
    finish(second, info, new_since=first.url)
    rows, info, _, empty = select(images, tmp_path, new_since=second.url)
    assert info.rows == 0
    finish(empty, info, new_since=second.url)
    (images / "fourth.jpg").write_bytes(b"fourth")
    (images / "005.jpg").write_bytes(b"changed since")
    rows = select(images, tmp_path, new_since=empty.url)[0]
    assert sorted(names(rows)) == ["005.jpg", "fourth.jpg"]
    several = select(images, tmp_path, new_since=[first.url, f"{second.url}/"])[0]
    assert sorted(names(several)) == ["005.jpg", "fourth.jpg"]


@pytest.mark.parametrize(
    ("code", "again"),
    [("fetch_failed", True), ("denied", True), ("changed", True), ("judge_failed", True), ("not_an_image", False)],
)
def test_what_failed_by_weather_was_not_scanned(images: Path, tmp_path: Path, code: str, again: bool) -> None:
    rows, info, _, earlier = select(images, tmp_path)
    run = finish(earlier, info)
    nothing = dict.fromkeys(("verdict", "score", "logit", "off_script", "explanation"))
    write_results(earlier, run, 2, error_code=code, error_message="why", **nothing)
    found = names(select(images, tmp_path, new_since=earlier.url)[0])
    assert found == (names(rows)[32:33] if again else [])


def test_what_is_not_done_was_not_scanned(images: Path, tmp_path: Path) -> None:
    rows, info, _, earlier = select(images, tmp_path)
    finish(earlier, info)
    Path(earlier.part(1)).unlink()
    Path(earlier.part(3)).write_bytes(b"damaged")
    found = names(select(images, tmp_path, new_since=earlier.url)[0])
    assert found == names(rows)[16:32] + names(rows)[48:64]


def test_a_chain_that_is_broken_is_one_clear_error(images: Path, tmp_path: Path) -> None:
    _, info, _, earlier = select(images, tmp_path)
    finish(earlier, info, new_since=str(tmp_path / "lost"))
    with pytest.raises(UserError, match=r"new_since: .*lost, which .* follows, holds no run"):
        select(images, tmp_path, new_since=earlier.url)


def test_new_since_a_folder_without_a_run_is_one_clear_error(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        select(images, tmp_path, new_since=str(tmp_path / "nothing"))


def test_kept_columns_are_in_the_runs_manifest(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_text("\n".join(["url,id", *(f"{number}.jpg,{number:03}" for number in range(50))]))
    assert select(source, tmp_path)[0]["kept"].null_count == 50
    for settings in ({}, {"limit": 7}, {"sample": 7}):
        rows, *_ = select(source, tmp_path, keep_columns=["id"], **settings)
        assert rows["kept"].to_pylist() == [f'{{"id": "{int(name.removesuffix(".jpg")):03}"}}' for name in names(rows)]
    with pytest.raises(UserError, match=r"keep_columns: .* has no column 'ID'"):
        select(source, tmp_path, keep_columns=["ID"])


def test_a_manifest_is_a_source(images: Path, tmp_path: Path) -> None:
    rows, info, _, folder = select(images, tmp_path)
    again, second, _, _ = select(Path(folder.path) / "manifest", tmp_path)
    assert again.equals(rows)
    assert second.fingerprint == info.fingerprint


def test_a_start_that_died_before_run_json_stood_can_be_made_again(images: Path, tmp_path: Path) -> None:
    """The manifest is complete, run.json is not there yet: the same command must not be refused."""
    *_, folder = select(images, tmp_path)
    config = ScanConfig(source=str(images), output=folder.url)
    info, _ = write_run_manifest(config, folder)
    assert info.rows == 200
