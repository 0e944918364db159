"""RunLease: scans of slices that share no shard run at once, and no others do."""

import json
import os
import threading
from pathlib import Path

import pytest

from fakescan.run.folder import RunFolder
from fakescan.scan.start.run_lease import RunLease, holder
from fakescan.settings.run_slice import RunSlice
from fakescan.storage import lease as lease_module
from fakescan.storage.lease import LeaseLostError
from fakescan.storage.store import Store
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr(lease_module.Lease.__init__, "__kwdefaults__", {"lease_s": 0.5})
    return RunFolder(str(tmp_path), Store())


def part(text: str | None) -> RunSlice | None:
    if text is None:
        return None
    number, count = text.split("/")
    return RunSlice(number=int(number), count=int(count))


@pytest.mark.parametrize(("first", "second"), [("1/2", "2/2"), ("1/2", "3/4"), ("1/3", "2/3"), ("4/4", "1/2")])
def test_slices_without_a_common_shard_run_at_once(first: str, second: str, folder: RunFolder) -> None:
    leases = [RunLease(folder, part(first)), RunLease(folder, part(second))]
    for lease in leases:
        lease.acquire()
    assert all(lease.has_company() for lease in leases)
    for lease in leases:
        lease.check()
        lease.release()
    assert os.listdir(folder.path) == []
    assert not leases[0].has_company()


@pytest.mark.parametrize(
    ("first", "second"), [(None, None), (None, "1/2"), ("2/2", None), ("1/2", "1/2"), ("1/2", "2/4"), ("1/1", "3/8")]
)
def test_a_live_scan_with_a_common_shard_keeps_the_second_out(
    first: str | None, second: str | None, folder: RunFolder
) -> None:
    holding, refused = RunLease(folder, part(first)), RunLease(folder, part(second))
    holding.acquire()
    with pytest.raises(UserError, match="another scan is writing this run"):
        refused.acquire()
    assert holder(folder, part(second)) == holder(folder, part(first)) is not None
    holding.check()
    assert len([name for name in os.listdir(folder.path) if name.endswith(".json")]) == 1
    holding.release()
    assert holder(folder) is None


def test_the_lease_of_a_scan_that_is_gone_is_taken_over_with_that_of_its_slice(folder: RunFolder) -> None:
    gone = {"owner": "another", "beat": 3, "host": "another-host", "pid": 1, "started": "1"}
    stale = Path(folder.path, "lease-2-of-4.json")
    stale.write_text(json.dumps(gone))
    lease = RunLease(folder, part("1/2"))
    lease.acquire()
    assert json.loads(stale.read_text())["pid"] == os.getpid(), "the one that was gone notices when it comes back"
    lease.release()
    assert not stale.exists()


def is_lost(lease: RunLease) -> bool:
    """The heartbeat notices within a tenth of a second; the bound is only for a broken one."""
    for _ in range(1000):
        try:
            lease.check()
        except LeaseLostError:
            return True
        threading.Event().wait(0.01)
    return False


def test_force_takes_every_overlapping_lease(folder: RunFolder) -> None:
    first, second, elsewhere = (
        RunLease(folder, part("1/4")),
        RunLease(folder, part("2/4")),
        RunLease(folder, part("3/4")),
    )
    for lease in (first, second, elsewhere):
        lease.acquire()
    taker = RunLease(folder, part("1/2"))
    taker.acquire(force=True)
    assert all(is_lost(lease) for lease in (first, second))
    elsewhere.check()
    for lease in (taker, first, second, elsewhere):
        lease.release()


def test_other_files_of_the_folder_are_no_leases(folder: RunFolder) -> None:
    for name in ("lease-0-of-2.json", "lease-3-of-2.json", "lease-1-of-2.json.bak", "lease-start.json", "run.json"):
        Path(folder.path, name).write_text("{}")
    lease = RunLease(folder)
    lease.acquire()
    lease.release()
