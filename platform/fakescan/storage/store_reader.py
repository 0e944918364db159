"""A store's file for libraries that read from a file object, with the store's own error kept."""

import io
from collections.abc import Callable
from typing import Any

from fakescan.isolation.time_limit import uncounted
from fakescan.storage.objects import patiently
from fakescan.storage.url import names_host, redact


class StoreReader(io.RawIOBase):
    """Passes reads on and keeps the store's error, which would otherwise look like damage of what is read.

    `open_file` opens the file, at once. With `patience_s` a store that is away is waited for (default: as long as for
    anything of a run), but no server that an address of the web names.
    """

    def __init__(self, url: str, open_file: Callable[[], Any], *, patience_s: float | None = None) -> None:
        self._what = f"reading {redact(url)}"
        self._patience_s = 0.0 if names_host(url) else patience_s
        self.error: Exception | None = None
        self.file = patiently(open_file, self._what, patience_s=self._patience_s)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer as far as the store's file goes on; returns the number of bytes. Raises its errors."""
        try:
            with uncounted():
                data = patiently(lambda: self.file.read(len(buffer)), self._what, patience_s=self._patience_s)
        except Exception as error:
            self.error = error
            raise
        buffer[: len(data)] = data
        return len(data)
