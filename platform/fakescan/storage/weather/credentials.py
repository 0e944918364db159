"""Makes the clients of this process again, so that credentials which were replaced meanwhile are read again."""

import asyncio
import logging
import threading
import time
from contextlib import suppress
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from fakescan.storage.errors import classify
from fakescan.storage.store import is_s3, known_filesystems, s3_session

logger = logging.getLogger(__name__)

_PAUSE_S = 2.0
_LAST_REQUESTS_S = 120.0
"""Seconds after which a client that was replaced is closed."""

_lock = threading.Lock()
_renewed_at = 0.0


def renew_clients() -> None:
    """Give every file system of this process a client with the credentials that files and services have now.

    Not to be called on fsspec's own event loop. At most once in `_PAUSE_S`; calls in between return at once. Keys that
    the store's options hold stay as they are. Raises nothing.
    """
    global _renewed_at
    with _lock:
        if time.monotonic() - _renewed_at < _PAUSE_S:
            return
        for filesystem in known_filesystems():
            try:
                renew(filesystem)
            except Exception as error:  # noqa: BLE001 - a credentials file that is being written, a service that is away
                logger.info("a client could not be made again: %s", classify(error)[1])
        _renewed_at = time.monotonic()


def renew(filesystem: AbstractFileSystem) -> None:
    """As `renew_clients`, for one file system, which stays the same object: others hold it."""
    if is_s3(filesystem):
        sync(filesystem.loop, _renew_s3, filesystem)
    elif hasattr(filesystem, "on_google"):
        from gcsfs.credentials import GoogleCredentials

        old = filesystem.credentials
        filesystem.credentials = GoogleCredentials(old.project, old.access, old.token, on_google=old.on_google)
    elif hasattr(filesystem, "do_connect") and hasattr(filesystem, "service_client"):
        filesystem.do_connect()


async def _renew_s3(filesystem: Any) -> None:
    profile = filesystem.session.profile if filesystem.session is not None else None
    old = getattr(filesystem, "_s3creator", None)
    filesystem.session = s3_session(profile)
    await filesystem.set_session(refresh=True)
    if old is not None:  # requests in flight still use it
        asyncio.get_running_loop().call_later(_LAST_REQUESTS_S, _close_later, old)


_closing: set[asyncio.Task[None]] = set()


def _close_later(client: Any) -> None:
    task = asyncio.ensure_future(_close(client))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _close(client: Any) -> None:
    with suppress(Exception):  # its process may close it at the same time
        await client.__aexit__(None, None, None)
