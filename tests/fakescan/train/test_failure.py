"""What stopped a worker: the first cause in one line, and whether another start may fare better."""

import errno
from collections import namedtuple
from pathlib import Path

import pytest

from fakescan.train import failure
from fakescan.train.config import TrainConfig
from fakescan.train.failure import Ending, StoreAwayError, cause_of, lost_worker, worker_death

pytestmark = pytest.mark.unit

GLOO = RuntimeError("[pair.cc:534] Gloo: Connection closed by peer [127.0.0.1]:3214")
_Usage = namedtuple("_Usage", "free")


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(model="m", data="d", storage_path=str(tmp_path / "runs"))


def test_a_full_disk_is_said_with_its_place(config: TrainConfig) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", f"{config.storage_path}/train/checkpoint_0000004/torch.pt")
    cause = cause_of(error, config)
    assert isinstance(cause, Ending)
    assert str(cause) == (
        f"storage_path: the disk of {config.storage_path} is full; free some room, or lower keep, and the same command "
        "resumes"
    )


def test_shared_memory_that_is_full_is_not_the_disk(config: TrainConfig) -> None:
    error = RuntimeError(
        "NCCL error: Error while creating shared memory segment /dev/shm/nccl-9d2f (size 9637888), "
        "error: No space left on device (28)"
    )
    cause = cause_of(error, config)
    assert isinstance(cause, Ending)
    assert str(cause).startswith("/dev/shm is full, ")
    assert "--shm-size" in str(cause)


def test_a_full_disk_behind_the_words_of_a_library(config: TrainConfig) -> None:
    def write() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("PytorchStreamWriter failed writing file data/1: file write failed") from error

    with pytest.raises(RuntimeError) as caught:
        write()
    cause = cause_of(caught.value, config)
    assert isinstance(cause, Ending)
    assert "is full" in str(cause)
    assert "\n" not in str(cause)


def test_torch_that_does_not_say_why_on_a_disk_that_is_full(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos 5312 vs 5200")
    assert not isinstance(cause_of(error, config), Ending)
    monkeypatch.setattr(failure.shutil, "disk_usage", lambda _: _Usage(0))
    assert isinstance(cause_of(error, config), Ending)


def test_memory(config: TrainConfig) -> None:
    cause = cause_of(MemoryError("cannot allocate"), config)
    assert isinstance(cause, Ending)
    assert str(cause).startswith("micro_batch: ")


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), TimeoutError("no answer in 20 s")])
def test_a_store_that_is_away_may_be_back_at_the_next_start(config: TrainConfig, error: Exception) -> None:
    cause = cause_of(error, config)
    assert isinstance(cause, str)
    assert cause.startswith("the store of ")
    assert cause.endswith("the same command resumes")


def test_a_store_of_the_data_that_stays_away_ends_the_run(config: TrainConfig) -> None:
    cause = cause_of(StoreAwayError("data: a.png cannot be fetched: timed out; the same command resumes"), config)
    assert isinstance(cause, Ending)


@pytest.mark.parametrize(
    "text",
    [
        "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3214",
        "NCCL error: remote process exited or there was a network error",
    ],
)
def test_what_follows_from_the_end_of_another_worker_is_no_cause(config: TrainConfig, text: str) -> None:
    assert cause_of(RuntimeError(text), config) is None


def test_anything_else_is_one_short_line(config: TrainConfig) -> None:
    cause = cause_of(KeyError("x\ny" * 400), config)
    assert isinstance(cause, str)
    assert cause.startswith("KeyError: ")
    assert "\n" not in cause
    assert len(cause) < 320


def test_workers_that_died_without_a_word() -> None:
    from ray.exceptions import ActorDiedError, NodeDiedError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    assert worker_death({1: ActorDiedError()}) == (
        "worker 1 died without a word: killed, or ended by the system for lack of memory"
    )
    assert worker_death({0: NodeDiedError("gone")}) == "the node of worker 0 is gone"
    assert worker_death({0: RuntimeError("said")}) is None
    looked = WorkerHealthCheckFailedError("A worker health check failed.", failure=ActorDiedError())
    assert worker_death({0: GLOO, 1: looked}) == (
        "worker 1 died without a word: killed, or ended by the system for lack of memory"
    )


def test_workers_that_only_say_that_another_is_gone() -> None:
    assert lost_worker({0: GLOO}, 2) == (
        "a worker, lost by worker 0, died without a word: killed, or ended by the system for lack of memory"
    )
    assert lost_worker({0: GLOO, 1: RuntimeError("said")}, 3) is None
    assert lost_worker({}, 2) is None
    assert str(lost_worker({0: GLOO, 1: GLOO}, 2)).startswith("the workers lost the connection to each other")


def test_what_an_error_from_another_process_carries_is_seen(config: TrainConfig) -> None:
    from ray.exceptions import RayTaskError

    carried = OSError(errno.ENOSPC, "No space left on device", f"{config.storage_path}/train/x.json")
    error = RayTaskError("run", "Traceback ...", carried)
    assert isinstance(cause_of(error, config), Ending)
