"""Downloads the files of a model: several at once, each taken up where it broke off, given up when nothing comes."""

import math
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.progress import BytesProgress, Report
from fakevlm.errors import UserError, one_line
from fakevlm.remote import NoAnswerError

STREAMS = 4
"""Files at once."""

_PAUSES_S = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a file is asked for again, in seconds; the last one repeats."""
_SPARE_BYTES = 2**26
"""Room that must be left on the disk, in bytes."""


@dataclass(frozen=True)
class Stream:
    """What a server sends of a file: `chunks` begin with byte `first`, which is 0 where it cannot begin elsewhere."""

    first: int
    chunks: Iterator[bytes]
    size: int | None = None
    """Bytes of the whole file as the answer says, None where it does not."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download."""

    name: str
    size: int | None
    """Bytes, None where the server does not say."""
    part: Path
    """Where it grows. Belongs to exactly this version of the file: what is there is not asked for again."""
    place: Path
    """Where it is once it is complete."""
    open: Callable[[int], AbstractContextManager[Stream]]
    """Asks for the bytes from an offset on."""
    is_intact: Callable[[Path], bool] = lambda part: True
    """Whether the complete file is what was announced."""
    can_resume: bool = True
    """False where nothing tells this version of the file from another: then it always begins anew."""


class DownloadError(Exception):
    """The file `name` did not come, for the reason `cause`; `received` of its bytes are kept for the next time."""

    def __init__(self, name: str, received: int, cause: Exception) -> None:
        super().__init__(f"{name}: {one_line(cause)}")
        self.name, self.received, self.cause = name, received, cause


class WrongFileError(Exception):
    """What came is not the file that was announced; the message says what it is."""


class BrokenOffError(ConnectionError):
    """The connection ended before the file did."""


def download(
    what: str,
    files: Sequence[RemoteFile],
    *,
    show: bool,
    may_pass: Callable[[Exception], bool],
    silence_s: float,
    report: Report | None = None,
) -> None:
    """Brings all files to their places, whatever already lies in their parts included.

    A file is asked for again after errors that `may_pass`, until `silence_s` seconds have brought no new byte of it.
    With `show` the progress is on stderr; `report` hears of it. Raises `DownloadError` with the first lasting error,
    `UserError` for a disk that is full or cannot be written.
    """
    transfer = _Transfer(files, may_pass, silence_s)
    transfer.refuse_full_disk()
    sizes = [file.size for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    with BytesProgress(what, total, transfer.received, show=show, report=report) as progress:
        try:
            transfer.start()
            while not transfer.wait(0.25):
                progress.update(transfer.received)
        finally:
            transfer.stop()


class _Growing:
    """A file on its way."""

    def __init__(self, file: RemoteFile) -> None:
        self.file = file
        self.received = _kept(file)
        self.most = self.received
        """The most bytes there ever were: a server that always begins anew makes no progress."""
        self.moved_at = 0.0
        self.error: Exception | None = None
        """The last error that may pass."""


class _Transfer:
    def __init__(self, files: Sequence[RemoteFile], may_pass: Callable[[Exception], bool], silence_s: float) -> None:
        self._files = [_Growing(file) for file in files]
        self._waiting = deque(self._files)
        self._may_pass, self._silence_s = may_pass, silence_s
        self._active: set[_Growing] = set()
        self._left = len(self._files)
        self._failure: Exception | None = None
        self._stopped = False
        self._changed = threading.Condition()

    @property
    def received(self) -> int:
        """Bytes that are there."""
        return sum(growing.received for growing in self._files)

    def refuse_full_disk(self) -> None:
        needed = sum((growing.file.size or 0) - growing.received for growing in self._files)
        folder = next((growing.file.part.parent for growing in self._files), None)
        if folder is None:
            return
        free = shutil.disk_usage(folder).free
        if needed + _SPARE_BYTES > free:
            raise UserError(
                f"no room on the disk: {needed / 1e9:.1f} GB are to be downloaded to {folder}, "
                f"{free / 1e9:.1f} GB are free"
            )

    def start(self) -> None:
        for number in range(min(STREAMS, len(self._files))):
            # Daemons: a name server or a client that never returns must not keep the program from ending.
            threading.Thread(target=self._work, name=f"fakevlm-download-{number}", daemon=True).start()

    def stop(self) -> None:
        """Has the threads end where they are; what they have received stays."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Whether everything is there, after at most so many seconds. Raises the failure there was."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or not self._left, seconds)
            if self._failure is not None:
                raise self._failure
            silent_since = time.monotonic() - self._silence_s
            for growing in self._active:
                if growing.moved_at < silent_since:
                    cause = growing.error or NoAnswerError(f"nothing came for {self._silence_s:.0f} s")
                    raise DownloadError(growing.file.name, growing.received, cause)
            return not self._left

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._stopped or not self._waiting:
                    return
                growing = self._waiting.popleft()
                growing.moved_at = time.monotonic()
                self._active.add(growing)
            try:
                self._bring(growing)
            except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
                failure: Exception | None = error
            else:
                failure = None
            with self._changed:
                self._active.discard(growing)
                self._left -= failure is None
                self._failure = self._failure or failure
                self._changed.notify_all()

    def _bring(self, growing: _Growing) -> None:
        file, tries = growing.file, 0
        while file.size is None or growing.received < file.size or not file.part.exists():
            before = growing.most
            try:
                with file.open(growing.received) as stream:
                    if self._receive(growing, stream):
                        break
            except UserError:
                raise
            except Exception as error:  # noqa: BLE001 - the clients share no base class
                if self._stopped:
                    return
                if not self._may_pass(error):
                    raise DownloadError(file.name, growing.received, error) from None
                growing.error = error
            tries = 0 if growing.most > before else tries + 1
            with self._changed:
                if self._changed.wait_for(lambda: self._stopped, _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]):
                    return
        growing.moved_at = math.inf  # reading gigabytes again takes its time
        if not file.is_intact(file.part):
            file.part.unlink()
            raise DownloadError(file.name, 0, WrongFileError("what came is not what was announced: its hash differs"))
        file.part.replace(file.place)

    def _receive(self, growing: _Growing, stream: Stream) -> bool:
        """Appends what comes; whether the file is complete. Raises the client's errors, UserError for the disk's."""
        file = growing.file
        size = file.size if file.size is not None else stream.size
        if file.size is not None and stream.size is not None and stream.size != file.size:
            raise WrongFileError(f"it has {stream.size} bytes, {file.size} were announced")
        if stream.first not in (0, growing.received):
            raise WrongFileError(f"it was asked for from byte {growing.received} on and came from {stream.first} on")
        try:
            output = file.part.open("ab")
        except OSError as error:
            raise _unwritable(file.part, error) from None
        with output:
            output.truncate(stream.first)
            growing.received = stream.first
            for chunk in stream.chunks:
                if self._stopped:
                    raise BrokenOffError
                try:
                    output.write(chunk)
                    output.flush()
                except OSError as error:
                    raise _unwritable(file.part, error) from None
                growing.received += len(chunk)
                if size is not None and growing.received > size:
                    output.truncate(0)
                    growing.received = 0
                    raise WrongFileError(f"more than the {size} bytes that were announced came")
                if growing.received > growing.most:
                    growing.most, growing.moved_at = growing.received, time.monotonic()
        if size is not None and growing.received < size:
            raise BrokenOffError(f"the connection ended after {growing.received} of {size} bytes")
        return True


def _kept(file: RemoteFile) -> int:
    """Bytes of the file that are there from an earlier attempt; removes what cannot be gone on with."""
    try:
        size = file.part.stat().st_size
    except FileNotFoundError:
        return 0
    if not file.can_resume or file.size is None or size > file.size:
        file.part.unlink()
        return 0
    return size


def _unwritable(part: Path, error: OSError) -> UserError:
    return UserError(f"cannot write to the cache folder {part.parent}: {error.strerror or one_line(error)}")


def span_of(headers: Any, status: int) -> tuple[int, int | None]:
    """The first byte that an HTTP answer holds, and the size of the whole file where it says that."""
    if status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if found is None:
            raise WrongFileError("the answer does not say which bytes it holds")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() and headers.get("Content-Encoding", "identity") == "identity" else None
