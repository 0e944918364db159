"""Chooses the transport for a scheme."""

import os

from fakescan.storage.io_loop import io_loop
from fakescan.storage.store import Store
from fakescan.storage.transport.base import Transport
from fakescan.storage.transport.fsspec import FsspecTransport
from fakescan.storage.transport.s3 import S3Transport

_shared: dict[tuple[object, ...], Transport] = {}


def open_transport(scheme: str, store: Store, *, max_bytes: int, connections: int, timeout_s: float) -> Transport:
    """The transport for a scheme other than `file`. Creates no connection yet."""
    if scheme == "s3":
        return S3Transport(store, max_bytes=max_bytes, connections=connections, timeout_s=timeout_s)
    if scheme == "http":
        from fakescan.storage.transport.web import WebTransport  # aiohttp; most workers never need it

        return WebTransport(store, max_bytes=max_bytes, connections=connections, timeout_s=timeout_s)
    return FsspecTransport(store, max_bytes=max_bytes)


def shared_transport(scheme: str, store: Store, *, max_bytes: int, connections: int, timeout_s: float) -> Transport:
    """The process's transport with these settings, whose connections are kept. To be called on `io_loop`'s thread."""
    key = (os.getpid(), scheme, store.identity, max_bytes, connections, timeout_s)
    if key not in _shared:
        transport = open_transport(scheme, store, max_bytes=max_bytes, connections=connections, timeout_s=timeout_s)
        io_loop().at_exit(transport.close)
        _shared[key] = transport
    return _shared[key]
