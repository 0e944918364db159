"""A large file that is written bit by bit and appears under its name when it is complete, here or in a store."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fakescan.storage.preflight import check_writable
from fakescan.storage.store import Store, is_local


@contextlib.contextmanager
def output_file(url: str, store: Store) -> Iterator[Path]:
    """A local path to write to; what lies there at the end gets the name `url`. Nothing does where an error is raised.

    For a store the file is written to this machine's temporary folder first. Raises UserError for a place that cannot
    be written to.
    """
    parent = url.rpartition("/")[0] or ("/" if url.startswith("/") else ".")
    check_writable(parent, store)
    fs, path = store.filesystem(url)
    local = is_local(fs)
    if local:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".fakescan-", dir=Path(path).parent if local else None)
    os.close(handle)
    try:
        yield Path(name)
        if local:
            os.chmod(name, 0o644)
            os.replace(name, path)
        else:
            fs.put_file(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
