"""The leases of a run folder: one for a scan of the whole run, or one for each slice, and one to prepare the run.

lease.json        the whole run
lease-3-of-8.json the third of eight slices
lease-start.json  held while run.json and the manifest are made, by one of the slices' scans
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fsspec import AbstractFileSystem

from fakescan.run.folder import RunFolder
from fakescan.settings.run_slice import MAX_SLICES, WHOLE_RUN, RunSlice
from fakescan.storage.lease import Lease, holder_of
from fakescan.storage.objects import list_names

_NAME = re.compile(r"lease(?:-([1-9]\d{0,8})-of-([1-9]\d{0,8}))?\.json")


class RunLease:
    """The lease of a whole run or of a slice: nobody else writes any of its shards while it is held.

    Each scan writes its own lease first and then looks for others: of two that overlap at least one sees the other.
    """

    def __init__(self, folder: RunFolder, part: RunSlice | None = None) -> None:
        self._folder = folder
        self._slice = part or WHOLE_RUN
        self._name = lease_name(part)
        self._held: list[Lease] = []

    def acquire(self, *, force: bool = False) -> None:
        """Take the lease, and those of overlapping slices whose scans are gone, lest they come back.

        Raises UserError when a live process holds one of them; `force` takes them all the same.
        """
        try:
            self._acquire(self._name, force)
            for name in _overlapping(self._folder, self._slice):
                if name != self._name:
                    self._acquire(name, force)
        except BaseException:
            self.release()
            raise

    def check(self) -> None:
        """Raise LeaseLostError once somebody else holds it; see `Lease.check`."""
        for lease in self._held:
            lease.check()

    def release(self) -> None:
        """Give all back."""
        for lease in self._held:
            lease.release()
        self._held.clear()

    def has_company(self) -> bool:
        """Whether scans of other slices hold leases on the run."""
        mine = set(_overlapping(self._folder, self._slice))
        return any(
            name not in mine and holder_of(self._folder.fs, f"{self._folder.path}/{name}") is not None
            for name, _ in _leases(self._folder)
        )

    def _acquire(self, name: str, force: bool) -> None:
        lease = Lease(self._folder.fs, f"{self._folder.path}/{name}")
        lease.acquire(force=force)
        self._held.append(lease)


@contextmanager
def starting(folder: RunFolder) -> Iterator[None]:
    """Alone among the scans of slices; waits for one that prepares the run, and takes over from one that is gone."""
    lease = Lease(folder.fs, f"{folder.path}/lease-start.json")
    lease.acquire(wait=True)
    try:
        yield
    finally:
        lease.release()


def lease_name(part: RunSlice | None) -> str:
    """File name of the lease of the whole run, or of a slice."""
    return "lease.json" if part is None else f"lease-{part.number}-of-{part.count}.json"


def holder(folder: RunFolder, part: RunSlice | None = None) -> str | None:
    """A process that seems to write shards of the run, or of the slice, in words; None where none is known."""
    fs: AbstractFileSystem = folder.fs
    for name in _overlapping(folder, part or WHOLE_RUN):
        if found := holder_of(fs, f"{folder.path}/{name}"):
            return found
    return None


def _overlapping(folder: RunFolder, part: RunSlice) -> list[str]:
    return [name for name, other in _leases(folder) if other.overlaps(part)]


def _leases(folder: RunFolder) -> Iterator[tuple[str, RunSlice]]:
    for name, _ in list_names(folder.fs, folder.path):
        if match := _NAME.fullmatch(name):
            part = WHOLE_RUN
            if match[1]:
                number, count = int(match[1]), int(match[2])
                if number > count or count > MAX_SLICES:
                    continue  # no scan of ours
                part = RunSlice(number=number, count=count)
            yield name, part
