"""Suspicion: a shard whose process has died is done with care, and ends with one `poison` row for each deadly image."""

import gzip
import io
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.isolation.child import IMAGE_DEATHS, Death, WorkLimits
from fakescan.scan.poison import suspicion
from fakescan.scan.poison.deaths import SHARD_DEATHS, SPLIT
from fakescan.scan.poison.suspicion import (
    MAX_ATTEMPTS,
    SILENT_FILES,
    SILENT_MEMBERS,
    DoomedShardError,
    SilentSourceError,
    _Suspects,
    fetch_with_care,
    is_suspect,
    previous_attempts,
)
from fakescan.scan.stages import Decode
from fakescan.scan.tables import FETCHED_SCHEMA
from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.sources.source import open_source
from fakescan.storage.store import Store
from fakevlm.preprocess import ImageSpec
from tests.deadly_images import deadly_png, worse_libraries
from tests.image_bytes import picture, saved

GIB = 2**30
SPEC = ImageSpec(shortest_edge=28, crop=(28, 28))


def rows_of(places: list[str]) -> pa.Table:
    """Manifest rows with the columns that matter here: images in files of their own, or in a tar."""
    uris = [f"tar://{number}::{place}" if ".tar" in place else place for number, place in enumerate(places)]
    objects = [place if ".tar" in place else None for place in places]
    return pa.table({"uri": uris, "object": pa.array(objects, pa.string())})


@dataclass
class Simulation:
    """Fetches the rows as a child does that some of them kill, or that other processes' greed kills now and then."""

    deadly: set[int]
    bad_luck: set[int] = field(default_factory=set)
    """Calls that die without fault of a row."""
    is_timeout: bool = False
    calls: int = 0
    deaths: int = 0

    def do(self, rows: pa.Table) -> list[Fetched] | Death:
        numbers = rows["number"].to_pylist()
        self.calls += 1
        if self.deadly & set(numbers) or self.calls in self.bad_luck:
            self.deaths += 1
            return Death("it died", is_timeout=self.is_timeout)
        return [Fetched(str(number).encode()) for number in numbers]

    def alone(self, row: pa.Table) -> list[Fetched] | Death:
        for _ in range(IMAGE_DEATHS):
            outcome = self.do(row)
            if not isinstance(outcome, Death):
                break
        return outcome

    def results(self, places: list[str]) -> list[Fetched]:
        rows = rows_of(places).append_column("number", pa.array(range(len(places))))
        return list(_Suspects(rows, self.do, self.alone).results((0, rows.num_rows)))


@pytest.mark.unit
@given(
    count=st.integers(0, 600),
    deadly=st.sets(st.integers(0, 599), max_size=5),
    bad_luck=st.integers(0, 60),
)
def test_the_deadly_rows_are_found_and_only_they(count: int, deadly: set[int], bad_luck: int) -> None:
    simulation = Simulation(deadly, {bad_luck})
    results = simulation.results([f"/images/{number}.png" for number in range(count)])
    assert [number for number, one in enumerate(results) if one.error_code == "poison"] == sorted(
        number for number in deadly if number < count
    )
    assert [one.data for one in results if one.data] == [
        str(number).encode() for number in range(count) if number not in deadly
    ]
    # Spans of up to a sixteenth of 600 are cut twice before an image is alone.
    assert simulation.deaths <= (2 + IMAGE_DEATHS) * len(deadly) + 1
    assert simulation.calls <= (2 * SPLIT + IMAGE_DEATHS) * (len(deadly) + 1) + SPLIT


@pytest.mark.unit
@pytest.mark.parametrize("bad", [SILENT_FILES - 1, SILENT_FILES])
def test_files_that_all_never_end_are_their_disks_fault(bad: int) -> None:
    simulation = Simulation(set(range(3, 3 + bad)), is_timeout=True)
    places = [f"/mount/{number}.png" for number in range(16)]
    if bad < SILENT_FILES:
        assert [one.error_code for one in simulation.results(places)].count("poison") == bad
    else:
        with pytest.raises(
            SilentSourceError, match="the source does not answer: 4 files in a row did not end being read"
        ):
            simulation.results(places)


@pytest.mark.unit
@pytest.mark.parametrize("count", [16, 400])
def test_a_file_of_many_images_that_never_ends_is_not_waited_for_at_each(count: int) -> None:
    simulation = Simulation(set(range(2, count - 2)), is_timeout=True)
    places = ["/a.png", "/b.png", *["/bomb.tar.gz"] * (count - 4), "/y.png", "/z.png"]
    results = simulation.results(places)
    assert [one.error_code for one in results] == [None, None, *["poison"] * (count - 4), None, None]
    assert simulation.deaths < 10 + 2 * SILENT_MEMBERS
    messages = [one.error_message or "" for one in results]
    assert sum(message.startswith("not tried: ") for message in messages) == count - 4 - SILENT_MEMBERS


@pytest.mark.unit
@pytest.mark.parametrize(
    ("attempts", "suspect"), [(0, False), (SHARD_DEATHS - 1, False), (SHARD_DEATHS, True), (MAX_ATTEMPTS - 1, True)]
)
def test_care_begins_after_two_deaths(attempts: int, suspect: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert previous_attempts() == 0, "this is no task of Ray's"
    monkeypatch.setattr(suspicion, "previous_attempts", lambda: attempts)
    assert is_suspect("decoding") is suspect


@pytest.mark.unit
def test_care_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspicion, "previous_attempts", lambda: MAX_ATTEMPTS)
    with pytest.raises(DoomedShardError, match="decoding images was begun 17 times in one shard"):
        is_suspect("decoding")


@pytest.fixture
def worse(tmp_path: Path) -> Iterator[None]:
    """Libraries that die of deadly images, in this process's children."""
    folder = str(worse_libraries(tmp_path / "site"))
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


@pytest.mark.unit
def test_files_that_kill_their_reader_are_poison(worse: None, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    names = ["1.png", "deadly-read-segv.png", "deadly-read-hang.png", "e.png", "z.png"]
    for seed, name in enumerate(names):
        (folder / name).write_bytes(saved(picture(seed=seed), "PNG"))
    (folder / "e.png").write_bytes(b"")
    rows = pa.concat_tables(open_source(str(folder), Store()))
    rows = rows.append_column("row_id", pa.array(range(rows.num_rows)))
    fetched = fetch_with_care(Fetcher(Store()), rows, WorkLimits(1.0, GIB))
    found = {Path(uri).name: one for uri, one in zip(rows["uri"].to_pylist(), fetched, strict=True)}
    assert {name: one.error_message for name, one in found.items() if one.error_code == "poison"} == {
        "deadly-read-segv.png": "fetching this image alone failed twice: its process was killed by signal 11 (SIGSEGV)",
        "deadly-read-hang.png": "fetching this image alone failed twice: it did not end within 1 s",
    }
    assert found["e.png"].error_code == "empty"
    assert {name for name, one in found.items() if one.data} == {"1.png", "z.png"}
    assert found["z.png"].data == (folder / "z.png").read_bytes()


@pytest.mark.unit
def test_care_changes_no_row(worse: None, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [saved(picture(seed=seed), kind) for seed, kind in enumerate(("PNG", "JPEG", "WEBP", "GIF"))]
    images += [b"no image", images[0][:-60], saved(picture(), "BMP")]
    table = pa.Table.from_pylist(
        [{"row_id": number, "uri": f"/{number}", "data": data} for number, data in enumerate(images)], FETCHED_SCHEMA
    )
    stage = Decode(SPEC, 10**6, ("none", "blur:2", "crop:0.7"), 21, WorkLimits(5.0, GIB))
    expected = stage(table)
    monkeypatch.setattr(suspicion, "previous_attempts", lambda: 2)
    careful = stage(table)
    assert careful.drop_columns(["decode_cpu_s"]).equals(expected.drop_columns(["decode_cpu_s"]))
    assert careful["pixels"].num_chunks == 1


@pytest.mark.unit
def test_memory_that_runs_out_here_is_tried_in_a_child(worse: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ulimit -v` and the like: what a decoder raises then says nothing of the image."""
    stage = Decode(SPEC, 10**6, limits=WorkLimits(5.0, GIB))
    data = [deadly_png("no-memory"), saved(picture(57, 31), "JPEG")]
    table = pa.Table.from_pylist(
        [{"row_id": n, "uri": f"/{n}", "data": one} for n, one in enumerate(data)], FETCHED_SCHEMA
    )
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", _raise_memory_error)
    rows = stage(table).drop_columns(["pixels"]).to_pylist()
    assert [row["error_code"] for row in rows] == ["poison", None]
    assert rows[0]["error_message"] == "decoding this image alone failed twice: it ran out of memory"
    data[0] = saved(picture(), "PNG")
    table = table.set_column(2, FETCHED_SCHEMA.field("data"), pa.array(data, pa.large_binary()))
    assert [row["error_code"] for row in stage(table).drop_columns(["pixels"]).to_pylist()] == [None, None]


def _raise_memory_error(_: object) -> None:
    raise MemoryError


@pytest.mark.unit
@pytest.mark.parametrize("kind", ["tar.gz", "parquet"])
def test_work_in_containers_counts_and_goes_on(kind: str, tmp_path: Path) -> None:
    """Nothing that is read on the way is taken for a hang."""
    images = [saved(picture(seed=seed), "PNG") for seed in range(12)]
    source = tmp_path / f"images.{kind}"
    if kind == "tar.gz":
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            for number, data in enumerate(images):
                entry = tarfile.TarInfo(f"{number:02}.png")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        source.write_bytes(gzip.compress(plain.getvalue()))
    else:
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"image": images}), source, row_group_size=5)
    rows = pa.concat_tables(open_source(str(source), Store()))
    fetched = fetch_with_care(Fetcher(Store()), rows, WorkLimits(5.0, GIB))
    assert [one.data for one in fetched] == images
