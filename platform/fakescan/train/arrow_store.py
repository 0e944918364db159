"""A store as a file system of Arrow's, which Ray Train keeps checkpoints with."""

from typing import Any

from fakescan.storage.store import Store


def arrow_filesystem(store: Store, url: str) -> Any:
    """Arrow's view of the file system for `url`. It pickles as the store, so that each process opens its own."""
    import pyarrow.fs

    class Handler(pyarrow.fs.FSSpecHandler):  # type: ignore[misc]
        """Of Arrow's, but for how it pickles."""

        def __reduce__(self) -> Any:
            return _handler, (store, url)

    return pyarrow.fs.PyFileSystem(Handler(store.filesystem(url)[0]))


def _handler(store: Store, url: str) -> Any:
    return arrow_filesystem(store, url).handler
