"""Chooses the transport for a scheme."""

from fakescan.storage.store import Store
from fakescan.storage.transport.base import Transport
from fakescan.storage.transport.fsspec import FsspecTransport
from fakescan.storage.transport.s3 import S3Transport
from fakescan.storage.transport.web import WebTransport


def open_transport(scheme: str, store: Store, *, max_bytes: int, connections: int, timeout_s: float) -> Transport:
    """The transport for a scheme other than `file`. Creates no connection yet."""
    if scheme == "s3":
        return S3Transport(store, max_bytes=max_bytes, connections=connections, timeout_s=timeout_s)
    if scheme == "http":
        return WebTransport(store, max_bytes=max_bytes, connections=connections, timeout_s=timeout_s)
    return FsspecTransport(store, max_bytes=max_bytes)
