"""Lease: one writer per run; a dead or silent one is replaced, a live one only by force."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from fakescan.storage import lease as lease_module
from fakescan.storage.lease import Lease, LeaseLostError
from fakevlm.errors import UserError
from tests.conftest import Bucket

pytestmark = pytest.mark.unit

LEASE_S = 0.5
NewLease = Callable[[], Lease]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lease.json"


@pytest.fixture
def new_lease(path: Path) -> Iterator[NewLease]:
    """Makes leases on one run, and ends their heartbeats."""
    leases: list[Lease] = []

    def make() -> Lease:
        leases.append(Lease(LocalFileSystem(), str(path), lease_s=LEASE_S))
        return leases[-1]

    yield make
    for lease in leases:
        lease.release()


def holder(path: Path, **changes: Any) -> dict[str, Any]:
    """Write a lease as another machine would hold it, and return it."""
    content = {"owner": "another", "beat": 3, "host": "another-host", "pid": 1, "started": "1", **changes}
    path.write_text(json.dumps(content))
    return content


def ignore(message: str) -> None:
    """For acquire's `say`, where nobody listens."""


def wait_until_lost(lease: Lease) -> None:
    """The heartbeat notices within LEASE_S / 5; the bound is only for a broken one."""
    for _ in range(1000):
        try:
            lease.check()
        except LeaseLostError:
            return
        threading.Event().wait(0.01)
    pytest.fail("the holder never noticed")


def test_a_lease_names_its_process_and_is_gone_after_release(path: Path, new_lease: NewLease) -> None:
    lease = new_lease()
    lease.acquire()
    content = json.loads(path.read_text())
    assert (content["host"], content["pid"]) == (socket.gethostname(), os.getpid())
    lease.check()
    lease.release()
    assert not path.exists()


def test_a_live_holder_keeps_others_out(path: Path, new_lease: NewLease) -> None:
    first, second = new_lease(), new_lease()
    first.acquire()
    said: list[str] = []
    with pytest.raises(UserError, match=f"process {os.getpid()}.*--break-lease"):
        second.acquire(say=said.append)
    assert len(said) == 1
    assert "watching" in said[0]
    first.check()
    owner = json.loads(path.read_text())["owner"]
    second.release()
    assert json.loads(path.read_text())["owner"] == owner, "the refused one must not remove the holder's lease"


def test_a_silent_holder_on_another_machine_is_replaced(path: Path, new_lease: NewLease) -> None:
    holder(path)
    lease = new_lease()
    lease.acquire(say=ignore)
    lease.check()
    assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_holder_on_another_machine_whose_counter_moves_is_alive(path: Path, new_lease: NewLease) -> None:
    holder(path)
    with pytest.raises(UserError, match="another-host"):
        new_lease().acquire(say=lambda _: holder(path, beat=4) and None)


def test_a_holder_that_gives_the_lease_back_while_it_is_watched_is_replaced(path: Path, new_lease: NewLease) -> None:
    holder(path)
    lease = new_lease()
    lease.acquire(say=lambda _: path.unlink())
    assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_dead_process_of_this_machine_is_replaced_without_watching(path: Path, new_lease: NewLease) -> None:
    code = f"""
import os
from botocore.exceptions import EndpointConnectionError
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fakescan.storage.lease import Lease
Lease(LocalFileSystem(), {str(path)!r}).acquire()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert path.exists()
    new_lease().acquire(say=pytest.fail)
    assert json.loads(path.read_text())["pid"] == os.getpid()


def own_content(path: Path, new_lease: NewLease) -> dict[str, Any]:
    """What a lease of this process holds."""
    lease = new_lease()
    lease.acquire()
    content: dict[str, Any] = json.loads(path.read_text())
    lease.release()
    return content


def test_a_process_number_that_was_given_out_again_is_not_the_holder(path: Path, new_lease: NewLease) -> None:
    holder(path, **{**own_content(path, new_lease), "owner": "another", "started": "1"})
    new_lease().acquire(say=pytest.fail)


def test_a_process_of_another_container_or_a_copy_of_this_machine_may_be_alive(path: Path, new_lease: NewLease) -> None:
    """Both have this machine's name, and the number of the holder means another process here, or none."""
    there = own_content(path, new_lease)["machine"].split()
    for machine in (f"{there[0]} pid:[1]", f"0000 {there[1]}", None):
        holder(path, host=socket.gethostname(), machine=machine, pid=os.getpid(), started="1")
        said: list[str] = []
        new_lease().acquire(say=said.append)
        assert "watching" in said[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"owner": 1, "pid": "x", "started": "1"}'])
def test_a_lease_that_cannot_be_read_becomes_stale(content: str, path: Path, new_lease: NewLease) -> None:
    path.write_text(content)
    new_lease().acquire(say=ignore)
    assert json.loads(path.read_text())["pid"] == os.getpid()


def test_force_takes_a_live_lease_and_the_first_holder_notices(path: Path, new_lease: NewLease) -> None:
    first, second = new_lease(), new_lease()
    first.acquire()
    second.acquire(force=True, say=pytest.fail)
    wait_until_lost(first)
    second.check()
    owner = json.loads(path.read_text())["owner"]
    first.release()
    assert json.loads(path.read_text())["owner"] == owner, "the loser must leave the new holder's lease alone"


def test_a_lease_that_was_deleted_by_hand_is_written_again(path: Path, new_lease: NewLease) -> None:
    lease = new_lease()
    lease.acquire()
    path.unlink()
    for _ in range(1000):
        if path.exists():
            break
        threading.Event().wait(0.01)
    lease.check()
    assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_store_that_is_away_does_not_end_the_lease(
    path: Path, new_lease: NewLease, caplog: pytest.LogCaptureFixture
) -> None:
    """A file in place of the run's folder fails every renewal."""
    lease = new_lease()
    lease.acquire()
    moved = path.parent.with_name("moved")
    path.parent.rename(moved)
    path.parent.touch()
    for _ in range(1000):
        if "could not be renewed" in caplog.text:
            break
        threading.Event().wait(0.01)
    assert "could not be renewed" in caplog.text
    lease.check()
    path.parent.unlink()
    moved.rename(path.parent)
    lease.release()
    assert not path.exists()


def test_two_machines_that_start_at_once_on_s3_get_one_lease(s3_bucket: Bucket) -> None:
    filesystem, folder = s3_bucket.store.filesystem(f"{s3_bucket.url}/run")
    leases = [Lease(filesystem, f"{folder}/lease.json", lease_s=5.0) for _ in range(4)]
    refused: list[UserError] = []
    start = threading.Barrier(len(leases))

    def acquire(lease: Lease) -> None:
        start.wait()
        try:
            lease.acquire(say=ignore)
        except UserError as error:
            refused.append(error)

    threads = [threading.Thread(target=acquire, args=[lease]) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lease in leases:
        lease.release()
    assert len(refused) == len(leases) - 1
    assert not filesystem.exists(f"{folder}/lease.json")


def test_of_several_that_take_a_stale_lease_over_one_wins(path: Path) -> None:
    take_over_at_once(LocalFileSystem(), str(path), lambda: holder(path))


def test_of_several_that_take_a_stale_lease_over_on_s3_one_wins(s3_bucket: Bucket) -> None:
    filesystem, name = s3_bucket.store.filesystem(f"{s3_bucket.url}/run/lease.json")
    content = {"owner": "another", "beat": 3, "host": "another-host", "pid": 1, "started": "1"}
    take_over_at_once(filesystem, name, lambda: filesystem.pipe_file(name, json.dumps(content).encode()))


def take_over_at_once(filesystem: AbstractFileSystem, path: str, leave: Callable[[], object]) -> None:
    leave()
    leases = [Lease(filesystem, path, lease_s=2.0) for _ in range(4)]
    refused: list[UserError] = []
    start = threading.Barrier(len(leases))

    def acquire(lease: Lease) -> None:
        start.wait()
        try:
            lease.acquire(say=ignore)
        except UserError as error:
            refused.append(error)

    threads = [threading.Thread(target=acquire, args=[lease]) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lease in leases:
        lease.release()
    assert len(refused) == len(leases) - 1
    assert not filesystem.exists(path)


class Outage:
    """A store that is away for as long as it is told, with errors that no base class unites."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        for name in ("read_version", "replace", "put_atomic"):
            monkeypatch.setattr(lease_module, name, self._guarded(getattr(lease_module, name)))

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **named: Any) -> Any:
            if self.error is not None:
                raise self.error
            return call(*arguments, **named)

        return guarded


@pytest.mark.parametrize("error", [OSError("away"), EndpointConnectionError(endpoint_url="x"), RuntimeError("any")])
def test_a_lease_outlasts_its_store(
    error: Exception, path: Path, new_lease: NewLease, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The check waits while the lease may be somebody else's, and goes on when the store says that it is not."""
    outage = Outage(monkeypatch)
    lease = new_lease()
    lease.acquire()
    outage.error = error
    threading.Event().wait(1.5 * LEASE_S)
    back = threading.Timer(LEASE_S, lambda: setattr(outage, "error", None))
    back.start()
    lease.check()
    back.join()
    assert "waiting for the store" in caplog.text
    beat = json.loads(path.read_text())["beat"]
    for _ in range(1000):
        if json.loads(path.read_text())["beat"] > beat:
            return
        threading.Event().wait(0.01)
    pytest.fail("the heartbeat did not go on")


def test_a_holder_that_was_cut_off_stops_when_it_was_replaced(
    path: Path, new_lease: NewLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(monkeypatch)
    lease = new_lease()
    lease.acquire()
    outage.error = OSError("cut off")
    threading.Event().wait(1.5 * LEASE_S)
    holder(path, beat=1)
    threading.Timer(0.2, lambda: setattr(outage, "error", None)).start()
    with pytest.raises(LeaseLostError, match="taken this run over"):
        lease.check()
    assert json.loads(path.read_text())["owner"] == "another"


def test_a_holder_that_stays_cut_off_stops(new_lease: NewLease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "_PATIENCE", 2)
    outage = Outage(monkeypatch)
    lease = new_lease()
    lease.acquire()
    outage.error = OSError("cut off")
    threading.Event().wait(1.5 * LEASE_S)
    with pytest.raises(LeaseLostError, match="could not be renewed"):
        lease.check()
    outage.error = None


def test_one_that_waits_gets_the_lease_when_it_is_given_back(new_lease: NewLease) -> None:
    first, second = new_lease(), new_lease()
    first.acquire()
    said: list[str] = []

    def give_back(message: str) -> None:
        said.append(message)
        threading.Timer(2 * LEASE_S, first.release).start()

    second.acquire(wait=True, say=give_back)
    second.check()
    assert len(said) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_what_is_no_lease_takes_nobody_out(content: bytes, path: Path, new_lease: NewLease) -> None:
    """A server makes an empty object of a PUT that was cut off: an own one, most likely."""
    lease = new_lease()
    lease.acquire()
    path.write_bytes(content)
    for _ in range(1000):
        if path.read_bytes() != content:
            break
        threading.Event().wait(0.01)
    lease.check()
    assert json.loads(path.read_bytes())["pid"] == os.getpid()
