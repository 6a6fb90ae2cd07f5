"""Addresses of peers: as limits count them, and as the log writes them."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

__all__ = ["address_of", "host_of", "in_words"]


def host_of(address: Any) -> str:
    """Return an address without its port; empty if it has no host, as on a UNIX socket."""
    return str(getattr(address, "host", ""))


@lru_cache(maxsize=4096)
def address_of(host: str) -> str:
    """Return the address that a host counts for in limits; for IPv6, its /64.

    A customer of a provider usually has a whole /64. An IPv4 address that is mapped to IPv6 counts
    as the IPv4 address. The result is empty for the machine's own addresses and for what is not an
    address, as on a UNIX socket: the peer is a local process, or a proxy for many clients.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            return "" if address.is_loopback else str(IPv6Address(int(address) >> 64 << 64)) + "/64"
        address = mapped
    return "" if address.is_loopback else str(address)


def in_words(address: Any) -> str:
    """Return an address with its port, if it has one, for the log."""
    host = getattr(address, "host", None)
    if host is None:
        return str(address)
    port = getattr(address, "port", None)
    return host if port is None else f"{host}:{port}"
