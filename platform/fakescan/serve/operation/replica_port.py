"""The port that Serve opens in every replica for calls between deployments, which nobody here makes that way."""

from importlib import import_module
from typing import Any


def keep_replica_port_private() -> None:
    """Has the port listen at 127.0.0.1; to be called as a replica is constructed, before Serve opens it.

    Serve listens at all addresses, asks for no token and unpickles what comes: who reaches it may run code. Calls that
    go from deployment to deployment by Ray itself, as all of ours, never use it. Where a cluster has chosen them to use
    it (RAY_SERVE_USE_GRPC_BY_DEFAULT, RAY_SERVE_PROXY_USE_GRPC), it stays as it is.
    """
    constants = import_module("ray.serve._private.constants")
    replica: Any = import_module("ray.serve._private.replica")
    original = replica.add_port_to_grpc_server
    if constants.RAY_SERVE_USE_GRPC_BY_DEFAULT or constants.RAY_SERVE_PROXY_USE_GRPC or original is _at_loopback:
        return
    replica.add_port_to_grpc_server = _at_loopback


def _at_loopback(server: Any, address: str) -> int:
    """Ray's own function with another address."""
    from ray._common.tls_utils import add_port_to_grpc_server

    port: int = add_port_to_grpc_server(server, address.replace("[::]:", "127.0.0.1:"))  # type: ignore[no-untyped-call]
    return port
