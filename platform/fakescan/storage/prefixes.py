"""Prefixes that bound what is read, and the addresses of the network that a web address may lead to."""

import ipaddress
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from fakescan.storage.url import file_path, scheme_of

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_AZURE_HOST = ipaddress.IPv4Address("168.63.129.16")
"""Of every Azure network: what runs the virtual machine. Of the internet by its number only."""


class Boundary(NamedTuple):
    """What of the web may be read. Without prefixes: everything that is named, but no redirect into a private network.

    With prefixes: what lies below them, at every redirect, from public addresses. A private address must be named in a
    prefix as such, as must `localhost`; the names in `private_hosts` may be at private addresses, too.
    """

    prefixes: tuple[str, ...] | None = None
    private_hosts: tuple[str, ...] = ()

    def allows(self, url: str) -> bool:
        """Whether the address lies below a prefix, or there are none."""
        return self.prefixes is None or is_below(url, _web_roots(self.prefixes))

    def may_be_private(self, host: str) -> bool:
        """Whether a host below the prefixes may be at an address that is not public."""
        host = host.lower()
        return is_address(host) or host == "localhost" or host in self.private_hosts


def roots_of(prefixes: Iterable[str]) -> tuple[str, ...]:
    """The prefixes as `is_below` compares them."""
    return tuple(f"{_normal(prefix).rstrip('/')}/" for prefix in prefixes)


@lru_cache(maxsize=16)
def _web_roots(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    return roots_of(prefix for prefix in prefixes if scheme_of(prefix) == "http")


def is_below(address: str, roots: tuple[str, ...]) -> bool:
    """Whether an object lies below one of the prefixes, wherever links lead."""
    return _normal(address).startswith(roots)


def _normal(address: str) -> str:
    """The address as it will be opened, or an empty string for one that may mean several places."""
    scheme = scheme_of(address)
    if scheme == "file":
        return os.path.realpath(file_path(address))
    if scheme != "http":
        return address  # the key of an object is what it is: no store resolves `..` in it
    url = urlsplit(address)
    path = url.path
    while (decoded := unquote(path)) != path:
        path = decoded
    if ".." in path.split("/") or "\\" in path or "@" in url.netloc:
        return ""
    scheme = url.scheme.lower()
    return f"{scheme}://{url.netloc.lower().removesuffix(_DEFAULT_PORTS[scheme])}{url.path}"


def is_address(host: str) -> bool:
    """Whether a host is named by its address."""
    return _address(host) is not None


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet: not to this machine, its network or the network's equipment."""
    found = _address(address)
    if found is None:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.is_site_local:  # to Python they are global
            return False
    if found == _AZURE_HOST:
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
