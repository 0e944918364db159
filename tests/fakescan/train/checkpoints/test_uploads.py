"""Uploads of checkpoints: beside the training, one at a time, whole or not at all, with patience for the store."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs
import pytest

from fakescan.errors import JobFailedError
from fakescan.storage import objects
from fakescan.train.checkpoints import uploads as module
from fakescan.train.checkpoints.uploads import Uploads
from tests.conftest import new_bucket
from tests.storage_server import SeaweedServer

pytestmark = pytest.mark.unit


class Reports:
    """Ray Train's part: an upload runs on one thread beside the training, and its checkpoint is listed in the end."""

    def __init__(self) -> None:
        self.listed: list[str] = []
        self.errors: list[Exception] = []
        self.pool = ThreadPoolExecutor(1)
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def report(self, metrics: dict[str, Any], *, checkpoint: Any, checkpoint_dir_name: str, **options: Any) -> None:
        upload: Callable[[Any, str], Any] = options["checkpoint_upload_fn"]
        assert options["delete_local_checkpoint_after_upload"] is False

        def run() -> None:
            self.may_go_on.wait()
            try:
                self.listed.append(upload(checkpoint, checkpoint_dir_name).path)
            except Exception as error:  # noqa: BLE001 - Ray hands on whatever it is
                self.errors.append(error)

        self.pool.submit(run)


class _Context:
    def __init__(self, path: str) -> None:
        self.experiment_fs_path, self.storage_filesystem = path, pyarrow.fs.LocalFileSystem()

    def get_storage(self) -> Any:
        return self


@pytest.fixture
def ray_train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Reports]:
    import ray.train

    reports = Reports()
    monkeypatch.setattr(ray.train, "report", reports.report)
    monkeypatch.setattr(ray.train, "get_context", lambda: _Context("run"))
    yield reports
    reports.may_go_on.set()
    reports.pool.shutdown()


def uploads_to(path: str, fs: Any = None, **more: Any) -> tuple[Uploads, list[Exception], list[float]]:
    failures: list[Exception] = []
    stored: list[float] = []
    made = Uploads(
        fs or fsspec.filesystem("file"),
        path,
        sharers=more.pop("sharers", 1),
        workers=1,
        may_write=more.pop("may_write", lambda: True),
        pending_workers=lambda pending: pending,
        on_failure=failures.append,
        on_stored=stored.append,
    )
    return made, failures, stored


def put(uploads: Uploads, step: int, data: bytes = b"weights") -> None:
    uploads.wait()
    with uploads.checkpoint({"step": step}) as folder:
        (folder / "deepspeed").mkdir()
        (folder / "deepspeed" / "state.pt").write_bytes(data)
        (folder / "log.jsonl").write_bytes(b"log")


def test_training_goes_on_while_one_is_uploaded_and_the_next_one_waits(tmp_path: Path, ray_train: Reports) -> None:
    uploads, failures, stored = uploads_to(str(tmp_path))
    ray_train.may_go_on.clear()
    put(uploads, 4)  # returns at once
    assert not (tmp_path / "checkpoint_0000004").exists()
    second = threading.Thread(target=put, args=(uploads, 8))
    second.start()
    second.join(0.3)
    assert second.is_alive(), "only one is on its way"
    ray_train.may_go_on.set()
    second.join(10)
    uploads.wait()
    ray_train.pool.shutdown()
    assert ray_train.listed == ["run/checkpoint_0000004", "run/checkpoint_0000008"]
    assert (tmp_path / "checkpoint_0000008" / "deepspeed" / "state.pt").read_bytes() == b"weights"
    assert (failures, len(stored)) == ([], 2)


def test_a_failed_one_is_never_listed_and_ends_the_training(tmp_path: Path, ray_train: Reports) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    uploads, failures, stored = uploads_to(str(blocked))
    put(uploads, 4)
    with pytest.raises(NotADirectoryError):
        uploads.wait()
    with pytest.raises(NotADirectoryError):
        put(uploads, 8)
    assert (ray_train.listed, len(failures), stored) == ([], 1, [])


def test_nothing_is_written_into_a_run_that_was_taken_over(tmp_path: Path, ray_train: Reports) -> None:
    uploads, failures, _ = uploads_to(str(tmp_path / "run"), may_write=lambda: False)
    put(uploads, 4)
    with pytest.raises(JobFailedError, match=r"^another training has taken this run over; this one stops$"):
        uploads.wait()
    assert not (tmp_path / "run").exists()
    assert [str(failure) for failure in failures] == ["another training has taken this run over; this one stops"]


@pytest.mark.parametrize("setting", ["TMPDIR", "storage_path"])
def test_room_for_as_much_as_the_last_one_is_looked_for_before_the_next(
    setting: str, tmp_path: Path, ray_train: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads, _, _ = uploads_to(str(tmp_path), sharers=1000)
    put(uploads, 4, b"x" * 5_000_000)
    uploads.wait()
    full = (tmp_path, 10_000_000)
    if setting == "TMPDIR":
        monkeypatch.setattr("fakescan.train.checkpoints.room.free_bytes", lambda _: full)
    else:
        monkeypatch.setattr(module, "lack_of_room", lambda *_: None)
        monkeypatch.setattr(module, "free_bytes", lambda _: (tmp_path, 1_000_000))
    with pytest.raises(JobFailedError) as caught:
        put(uploads, 8)
    line = str(caught.value)
    assert line.startswith(f"{setting}: ")
    assert line.endswith("; the same command resumes")
    assert ("5.0 GB; 10.0 MB are free" if setting == "TMPDIR" else "5.0 MB") in line
    assert not (tmp_path / "checkpoint_0000008").exists()


def test_a_store_that_is_away_for_a_while_gets_it_all_the_same(
    own_s3: SeaweedServer, ray_train: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = new_bucket(own_s3)
    fs, path = bucket.store.filesystem(f"{bucket.url}/run")
    waits: list[int] = []
    monkeypatch.setattr(objects.WAITS, "_listener", lambda found: waits.append(len(found)))
    own_s3.kill()
    uploads, failures, _ = uploads_to(path, fs)
    put(uploads, 4, b"x" * 1_000_000)
    while not waits:
        assert not failures
    assert not uploads._idle.is_set(), "it waits, and the training goes on"
    own_s3.start()
    uploads.wait()
    ray_train.pool.shutdown()
    assert fs.cat_file(f"{path}/checkpoint_0000004/deepspeed/state.pt") == b"x" * 1_000_000
    assert (ray_train.listed, failures) == (["run/checkpoint_0000004"], [])
