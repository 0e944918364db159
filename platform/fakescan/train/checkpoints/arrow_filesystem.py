"""The run's storage as Ray Train sees it: an Arrow file system that outlasts a store that is away."""

from typing import Any

from fsspec import AbstractFileSystem

from fakescan.storage.objects import patiently, put_atomic, read_bytes
from fakescan.storage.store import Store
from fakescan.storage.url import redact


def arrow_filesystem(store: Store, url: str) -> Any:
    """Arrow's view of the file system for `url`. It pickles as the store, so that each process opens its own.

    It is for the small files that Ray Train writes itself, above all its list of a run's checkpoints: they are written
    whole or not at all, and each call waits for the store as the rest of a run does.
    """
    import pyarrow.fs

    class Handler(pyarrow.fs.FSSpecHandler):  # type: ignore[misc]
        """Arrow's handler, but for how it pickles, waits and writes."""

        def __reduce__(self) -> Any:
            return _handler, (store, url)

        def get_file_info(self, paths: list[str]) -> Any:
            return patiently(lambda: super(Handler, self).get_file_info(paths), _what("looking at", paths[0]))

        def get_file_info_selector(self, selector: Any) -> Any:
            what = _what("listing", selector.base_dir)
            return patiently(lambda: super(Handler, self).get_file_info_selector(selector), what)

        def create_dir(self, path: str, recursive: bool) -> None:
            patiently(lambda: super(Handler, self).create_dir(path, recursive), _what("making", path))

        def delete_dir(self, path: str) -> None:
            patiently(lambda: super(Handler, self).delete_dir(path), _what("deleting", path))

        def delete_file(self, path: str) -> None:
            patiently(lambda: super(Handler, self).delete_file(path), _what("deleting", path))

        def open_input_stream(self, path: str) -> Any:
            return pyarrow.BufferReader(read_bytes(self.fs, path))

        def open_output_stream(self, path: str, metadata: Any) -> Any:
            return pyarrow.PythonFile(_WholeFile(self.fs, path), mode="w")

    return pyarrow.fs.PyFileSystem(Handler(store.filesystem(url)[0]))


class _WholeFile:
    """A small file that is written at once when it is closed."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._fs, self._path = fs, path
        self._data = bytearray()
        self.closed = False

    def write(self, data: Any) -> int:
        self._data += data
        return len(data)

    def tell(self) -> int:
        return len(self._data)

    def flush(self) -> None:
        """Nothing is written before it is closed."""

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            put_atomic(self._fs, self._path, bytes(self._data))


def _what(action: str, path: str) -> str:
    return f"{action} {redact(path)}"


def _handler(store: Store, url: str) -> Any:
    return arrow_filesystem(store, url).handler
