"""Reverse proxies that tell the addresses of their clients, and may be believed."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

from chat_protocol.transport.addresses import host_of

__all__ = ["ClientOfProxy", "ForwardedAddress", "TrustedProxies"]

_UNIX = "unix"
"""Stands for all clients of UNIX sockets."""


class ForwardedAddress(NamedTuple):
    """The address of a client as a proxy has forwarded it, without a port."""

    host: str


class ClientOfProxy:
    """The address of a client that a trusted proxy has not told (yet).

    It has no host, so the client counts for no address: all clients of the proxy would share it.

    Args:
        proxy: the address of the proxy.
    """

    __slots__ = ("proxy",)

    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy

    def __str__(self) -> str:
        host = host_of(self.proxy)
        return f"a client of the proxy {host}:{self.proxy.port}" if host else "a client of a proxy"


class TrustedProxies:
    """The proxies that the operator trusts.

    Args:
        proxies: addresses, networks such as 192.0.2.0/24, or ``unix`` for all clients of UNIX
            sockets.

    Raises:
        ValueError: one is none of these; the text is the end of a sentence.
    """

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        given = list(proxies)
        self._unix = _UNIX in given
        self._networks = [ip_network(one) for one in given if one != _UNIX]

    def __contains__(self, address: object) -> bool:
        return self._trusts(host_of(address))

    def _trusts(self, host: str) -> bool:
        if not host:
            return self._unix
        found = _parse(host) if self._networks else None
        return found is not None and any(found in network for network in self._networks)

    def may_announce(self, address: object) -> bool:
        """Return whether PROXY headers from an address are believed.

        Besides the trusted proxies these are UNIX sockets and the machine's own addresses.
        """
        found = _parse(host_of(address))
        return found is None or found.is_loopback or address in self

    def client_of(self, forwarded_for: Iterable[bytes]) -> ForwardedAddress | None:
        """Return the client that sent a request, by its X-Forwarded-For.

        Each proxy adds the address that the request came from. So the last one that is not a
        proxy's is the client's; what stands before it may be invented.

        Args:
            forwarded_for: the values of all headers of that name.

        Returns:
            None if there is no such address, or something else stands in its place.
        """
        for value in reversed(b",".join(forwarded_for).split(b",")):
            text = value.strip().decode("latin-1")
            # Some proxies write a port, and brackets around IPv6.
            if text.startswith("["):
                text = text[1:].partition("]")[0]
            elif text.count(":") == 1:
                text = text.partition(":")[0]
            found = _parse(text)
            if found is None:
                return None
            if not self._trusts(text):
                return ForwardedAddress(str(found))
        return None


def _parse(host: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
