"""A store's file for libraries that read from a file object, with the store's own error kept."""

import io
from typing import Any

from fakescan.isolation.time_limit import uncounted


class StoreReader(io.RawIOBase):
    """Passes reads on and keeps the store's error, which would otherwise look like damage of what is read."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.error: Exception | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer as far as the store's file goes on; returns the number of bytes. Raises its errors."""
        try:
            with uncounted():
                data = self.file.read(len(buffer))
        except Exception as error:
            self.error = error
            raise
        buffer[: len(data)] = data
        return len(data)
