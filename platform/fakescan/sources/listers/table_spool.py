"""Tables that wait for their turn on the disk, so that they neither fill the memory nor stop whoever makes them."""

import os
import shutil
import tempfile
import threading
from typing import BinaryIO, NamedTuple

import pyarrow as pa

_FILE_BYTES = 64 * 2**20
_MAX_BYTES = 8 * 2**30
_FREE_SHARE = 4
"""What is free on the disk is used up to this fraction."""


class SpooledTable(NamedTuple):
    """A place in a spool."""

    file: "_File"
    offset: int
    length: int


class _File:
    def __init__(self) -> None:
        self.handle: BinaryIO = tempfile.TemporaryFile(prefix="fakescan-listing-")  # noqa: SIM115 - closed by its spool
        self.bytes = 0
        self.waiting = 0
        """Tables that have not been taken."""


class TableSpool:
    """Keeps tables in temporary files, each removed once all that it holds is taken. Threads may share it."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self._lock = threading.Lock()
        self._current: _File | None = None
        self._files: set[_File] = set()
        self._max_bytes = max_bytes
        self.bytes = 0

    def put(self, table: pa.Table) -> SpooledTable | None:
        """Keep a table; None where the disk has no room for it."""
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
            writer.write_table(table)
        data = sink.getvalue()
        with self._lock:
            try:
                if self._max_bytes is None:
                    self._max_bytes = min(_MAX_BYTES, shutil.disk_usage(tempfile.gettempdir()).free // _FREE_SHARE)
                if self.bytes + len(data) > self._max_bytes:
                    return None
                if self._current is None or self._current.bytes > _FILE_BYTES:
                    self._current = _File()
                    self._files.add(self._current)
                file = self._current
                self._write(file, data)
            except OSError:  # a disk that is full after all
                self._max_bytes = 0
                return None
            place = SpooledTable(file, file.bytes, len(data))
            file.bytes += len(data)
            file.waiting += 1
            self.bytes += len(data)
        return place

    def _write(self, file: _File, data: pa.Buffer) -> None:
        view, offset = memoryview(data), file.bytes
        while len(view):
            written = os.pwrite(file.handle.fileno(), view, offset)
            view, offset = view[written:], offset + written

    def take(self, place: SpooledTable) -> pa.Table:
        """The table, which is then forgotten."""
        file, offset, length = place
        data = os.pread(file.handle.fileno(), length, offset)
        table = pa.ipc.open_stream(data).read_all()
        with self._lock:
            file.waiting -= 1
            if not file.waiting and file is not self._current:
                self._forget(file)
        return table

    def _forget(self, file: _File) -> None:
        self._files.discard(file)
        self.bytes -= file.bytes
        file.handle.close()

    def close(self) -> None:
        """Remove all files."""
        with self._lock:
            for file in list(self._files):
                self._forget(file)
            self._current = None
