"""A run folder that keeps nothing: what a scan would write into its manifest is counted and dropped."""

import io
from functools import cached_property
from typing import Any

import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store


class NowhereFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Takes the files of a manifest and counts the images in them whose size is not known."""

    protocol = "nowhere"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.unknown_sizes = 0

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Nothing is ever there."""
        return []

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Look at a file of the manifest, and drop it."""
        if path.endswith(".parquet"):
            sizes = pq.read_table(io.BytesIO(value), columns=["size"], use_threads=False)["size"]
            self.unknown_sizes += sizes.null_count

    def rm_file(self, path: str) -> None:
        """Raise FileNotFoundError: nothing is ever there."""
        raise FileNotFoundError(path)


class Nowhere(RunFolder):
    """A run folder in a `NowhereFileSystem`."""

    def __init__(self) -> None:
        super().__init__("nowhere://run", Store())

    @cached_property
    def _place(self) -> tuple[AbstractFileSystem, str]:
        return NowhereFileSystem(), "run"
