"""A run's log while it grows: TensorBoard's own reader follows it, on a disk and in a bucket."""

import errno
import struct
from pathlib import Path
from typing import Any

import pytest

from fakescan.train.config import TrainConfig
from fakescan.train.folder import TrainFolder
from fakescan.train.metrics_actor import StepMetrics
from fakescan.train.tracking.event_file import EventFile
from fakescan.train.tracking.live_log import LiveLog
from tests.conftest import Bucket
from tests.striped import settings

pytestmark = pytest.mark.unit


def entry(step: int, loss: float | None = None, **metrics: float) -> StepMetrics:
    return StepMetrics(step=step, at=1e9 + step, loss=loss or 1.0 / step, lr=1e-3, grad_norm=0.5, metrics=metrics)


def records(data: bytes) -> list[Any]:
    """The events of a file, by TensorBoard's framing: length, its checksum, event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    events, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        events.append(Event.FromString(data[at + 12 : at + 12 + length]))
        at += 16 + length
    assert at == len(data), "no half entry"
    return events


def scalars(events: list[Any], tag: str) -> list[tuple[int, float]]:
    return [
        (event.step, round(value.simple_value, 4))
        for event in events
        for value in event.summary.value
        if value.tag == tag
    ]


def local(tmp_path: Path) -> LiveLog:
    folder = TrainFolder(TrainConfig.model_validate(settings("m", "d", tmp_path, zero=0)))
    folder.fs.makedirs(folder.path, exist_ok=True)
    return LiveLog(folder, tmp_path / "scratch")


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "train" / "tensorboard").iterdir())


def test_tensorboards_file_grows_with_every_step(tmp_path: Path) -> None:
    log = local(tmp_path)
    log.add([entry(1)])
    log.flush()
    (file,) = files(tmp_path)
    with file.open("rb") as following:  # TensorBoard keeps the file open
        assert scalars(records(following.read()), "train/loss") == [(1, 1.0)]
        log.add([entry(2, eval_auroc=0.75)])
        log.flush()
        more = records(following.read())
    assert scalars(more, "train/loss") == [(2, 0.5)]
    assert scalars(more, "eval/auroc") == [(2, 0.75)]


def test_steps_that_are_made_again_replace_those_of_before(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "events")
    file.add([entry(1), entry(2), entry(3)])
    file.add([entry(2), entry(3)])
    marks = [event.step for event in records(file.path.read_bytes()) if event.HasField("session_log")]
    assert marks == [1, 2], "at which TensorBoard forgets that step and later ones"


def test_the_next_start_has_all_of_it_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = local(tmp_path)
    first.add([entry(1), entry(2)])
    first.flush()
    first.save([entry(1), entry(2)])
    of_others = tmp_path / "train" / "tensorboard" / "events.out.tfevents.1.host"
    of_others.write_bytes(b"of somebody else")
    monkeypatch.setattr("fakescan.train.tracking.live_log.time.time", lambda: 2e9)
    second = local(tmp_path)
    second.add([entry(1), entry(2)])
    second.add([entry(3)])
    second.flush()
    assert len(files(tmp_path)) == 3
    second.save([entry(1), entry(2), entry(3)])
    assert [file.name for file in files(tmp_path)] == [of_others.name, "events.out.tfevents.2000000000.fakescan"]
    assert [step for step, _ in scalars(records(files(tmp_path)[1].read_bytes()), "train/loss")] == [1, 2, 3]


def test_a_bucket_has_it_with_each_save(tmp_path: Path, s3_bucket: Bucket) -> None:
    config = settings("m", "d", f"{s3_bucket.url}/runs", zero=0, storage_store=s3_bucket.settings())
    folder = TrainFolder(TrainConfig.model_validate(config))
    log = LiveLog(folder, tmp_path / "scratch")
    sizes = []
    for step in (1, 2):
        log.add([entry(step)])
        log.flush()
        log.save([entry(number + 1) for number in range(step)])
        (path,) = folder.fs.ls(f"{folder.path}/tensorboard", detail=False)
        data = folder.fs.cat_file(path)
        assert len(scalars(records(data), "train/loss")) == step
        sizes.append(data)
    assert sizes[1].startswith(sizes[0]), "who has read the first part goes on behind it"


def test_a_full_disk_is_said_once_and_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = local(tmp_path)
    log.add([entry(1)])
    log.flush()
    with monkeypatch.context() as full:

        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(EventFile, "add", fail)
        for step in (2, 3):
            log.add([entry(step)])
            log.flush()
    assert caplog.messages == ["TensorBoard's file could not be written: No space left on device"]
    monkeypatch.setattr("fakescan.train.tracking.live_log.time.time", lambda: 2e9)
    log.flush()
    assert [step for step, _ in scalars(records(files(tmp_path)[-1].read_bytes()), "train/loss")] == [1, 2, 3]
