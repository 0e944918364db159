"""Where a request comes from: the address that the log shows, and the one that limits are counted by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Network = IPv4Network | IPv6Network

MAX_HOPS = 16
"""Addresses of X-Forwarded-For that are looked at, from its end."""
PEER = "fakescan.peer"
"""Who is connected, in a scope: uvicorn itself believes anybody on this machine who sends X-Forwarded-For."""
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """The address of a client."""

    shown: str
    """The address itself; `-` for none, such as of a Unix socket."""
    group: str
    """What limits count by: of IPv6 the /64 network, which one customer has whole."""


class TrustedProxies:
    """The reverse proxies that are believed about whom they speak for."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """`networks`: addresses or CIDR networks. Raises ValueError for anything else."""
        self._networks: tuple[Network, ...] = tuple(ip_network(network) for network in networks)

    def trusts(self, host: str | None) -> bool:
        """Whether a connection from this address is a reverse proxy's."""
        address = _parsed(host or "")
        return address is not None and any(
            address.version == network.version and address in network for network in self._networks
        )

    def client(self, scope: Mapping[str, Any]) -> ClientAddress:
        """The client of a request: the last address of X-Forwarded-For that no trusted proxy has, if one sent it."""
        peer = scope[PEER] if PEER in scope else scope.get("client")
        host = str(peer[0]) if peer else ""
        if self._networks and self.trusts(host):
            host = self._forwarded(scope["headers"], host)
        return address_of(host)

    def _forwarded(self, headers: Iterable[tuple[bytes, bytes]], host: str) -> str:
        given = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        for hop in reversed(given.rsplit(b",", MAX_HOPS)[-MAX_HOPS:]):
            parsed = _parsed(hop.decode("latin-1").strip())
            if parsed is None:
                break  # nothing before it can be believed
            host = str(parsed)
            if not self.trusts(host):
                break
        return host


@lru_cache(4096)
def address_of(host: str) -> ClientAddress:
    """The client address of a host as a socket or a header has it."""
    address = _parsed(host)
    if address is None:
        return ClientAddress(_UNKNOWN, _UNKNOWN)
    if isinstance(address, IPv6Address):
        return ClientAddress(str(address), str(IPv6Network((int(address) >> 64 << 64, 64))))
    return ClientAddress(str(address), str(address))


def _parsed(host: str) -> IPv4Address | IPv6Address | None:
    text = host.partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]  # 192.0.2.1:4711, as some proxies write it
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
