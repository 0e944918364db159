"""Reads local files."""

import errno
import os
import stat
from datetime import UTC, datetime

from fakescan.storage.transport.base import LOCAL_ETAG, Body, ObjectVersion, Request, check_size, refuse_too_large
from fakescan.storage.url import file_path
from fakevlm.errors import ErrorCode, ImageError


def read_local(request: Request, max_bytes: int) -> Body:
    """A local file, or a span of it; checked against the manifest's size and modification time."""
    path = file_path(request.uri)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hang the scan
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise ImageError(ErrorCode.FETCH_FAILED, "not a regular file") from None
        raise
    with open(handle, "rb", buffering=0) as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(ErrorCode.FETCH_FAILED, "not a regular file")
        etag = f"{LOCAL_ETAG}{status.st_mtime_ns}"
        if (request.etag or "").startswith(LOCAL_ETAG) and request.etag != etag:
            raise ImageError(ErrorCode.CHANGED, "the file was modified after it was listed")
        check_size(request, status.st_size)
        if request.length is None:
            refuse_too_large(status.st_size, max_bytes)
        wanted = status.st_size if request.length is None else request.length
        file.seek(request.first or 0)
        pieces = []
        while wanted > 0 and (piece := file.read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
    if wanted:
        raise ImageError(ErrorCode.CHANGED, "the file became shorter while it was read")
    version = ObjectVersion(etag, last_modified=datetime.fromtimestamp(status.st_mtime, UTC))
    return Body(pieces[0] if len(pieces) == 1 else b"".join(pieces), version)
