"""The PROXY protocol: connections through a proxy begin with a header with the client's address.

Both versions of the protocol are supported, see
https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. Until the header has arrived a
connection counts for no address. It does not count for the proxy's: all clients would share it.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import NamedTuple, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory

from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.rejected import ClosedAtOnce
from chat_protocol.server.sessionless import SessionlessConnection
from chat_protocol.server.state import ConnectionEvent
from chat_protocol.server.trusted_proxies import ClientOfProxy
from chat_protocol.transport.addresses import host_of

__all__ = ["BadHeader", "Header", "ProxiedFactory", "ProxyHeader", "read_header"]

_Address: TypeAlias = "IPv4Address | IPv6Address"

_LINE = b"PROXY "
_LONGEST_LINE = 107
"""Bytes of a header of version 1, with the line end."""

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""Begins a header of version 2."""

_FIXED = struct.Struct(">12s B B H")
_LOCAL = 0x20
_PROXY = 0x21
_ADDRESSES = {
    0x11: (struct.Struct(">4s 4s H H"), IPv4Address),
    0x21: (struct.Struct(">16s 16s H H"), IPv6Address),
}
"""By family: TCP over IPv4 and over IPv6. The addresses of other families are ignored."""


class BadHeader(Exception):
    """A connection does not begin with a PROXY header; the text tells the operator why."""


class Header(NamedTuple):
    """A PROXY header."""

    size: int
    """In bytes."""
    source: _Address | None
    """The client's address; None: the proxy does not know it, or is the client itself."""


def read_header(data: bytes) -> Header | None:
    """Return the header at the beginning of these bytes; None if it is not complete.

    Raises:
        BadHeader: no header begins like that.
    """
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _read_version_2(data)
    if data[: len(_LINE)] == _LINE[: len(data)]:
        return _read_version_1(data)
    raise BadHeader("it does not begin with a PROXY header, which haproxy: endpoints need")


def _read_version_1(data: bytes) -> Header | None:
    line, end, _ = data[:_LONGEST_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= _LONGEST_LINE:
            raise BadHeader(f"the line of its PROXY header is longer than {_LONGEST_LINE} bytes")
        return None
    size = len(line) + len(end)
    family, *values = line.decode("latin-1").split(" ")[1:]
    if family == "UNKNOWN":
        return Header(size, None)
    try:
        source, _, port, _ = values
        # A scope id, which has no meaning beyond the proxy's machine, can be any text.
        if not port.isdecimal() or "%" in source:
            raise ValueError(line)
        version = {"TCP4": 4, "TCP6": 6}[family]
        if ip_address(source).version != version or int(port) >= 1 << 16:
            raise ValueError(source)
    except (KeyError, ValueError):
        raise BadHeader(f"its PROXY header is malformed: {ascii(line)[2:-1]}") from None
    address = IPv4Address if version == 4 else IPv6Address
    return Header(size, address("TCP", source, int(port)))


def _read_version_2(data: bytes) -> Header | None:
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    size = _FIXED.size + length
    if command not in (_LOCAL, _PROXY):
        raise BadHeader(f"its PROXY header has an unknown version or command, {command:#x}")
    if len(data) < size:
        return None
    if command == _LOCAL or family not in _ADDRESSES:
        return Header(size, None)
    values, address = _ADDRESSES[family]
    if length < values.size:
        raise BadHeader(f"its PROXY header of {size} bytes is too short for addresses")
    source, _, port, _ = values.unpack_from(data, _FIXED.size)
    return Header(size, address("TCP", str(ip_address(source)), port))


class ProxyHeader(SessionlessConnection):
    """A connection through a proxy whose PROXY header has not arrived.

    Args:
        factory: accepts the connection, and decides whether the address may have it.
    """

    _data = b""

    def __init__(self, factory: ChatFactory) -> None:
        super().__init__(factory)
        self._factory = factory

    @property
    def unfinished(self) -> object | None:
        return self if self._data else None

    def connectionMade(self) -> None:
        self.address = ClientOfProxy(self.transport.getPeer())
        self.announce()

    def received(self, data: bytes) -> None:
        """Hand the connection over when the header is complete."""
        data = self._data + data
        try:
            header = read_header(data)
        except BadHeader as error:
            self._factory.log_limiter.about(
                self, "proxy_header", "Closing {peer}: {why}", why=str(error)
            )
            self.close()
            return
        if header is None:
            self._data = data
            return
        source = header.source
        if source is not None:
            is_proxy = source in self._factory.trusted_proxies
            self.address = ClientOfProxy(source) if is_proxy else source
        if self._factory.admission.admits(host_of(self.address)):
            after = self._factory.first_bytes(is_new=False)
            self.hand_over(after)
            after.dataReceived(data[header.size :])
        else:
            self.step(ConnectionEvent.END)
            self.transport.pauseProducing()
            self._factory.admission.close_later(self)


class ProxiedFactory(ServerFactory):
    """Accepts connections through a proxy.

    Args:
        factory: serves them; it may have other endpoints as well.
    """

    noisy = False

    def __init__(self, factory: ChatFactory) -> None:
        self._factory = factory

    def startFactory(self) -> None:
        self._factory.doStart()  # type: ignore[no-untyped-call]

    def stopFactory(self) -> None:
        self._factory.doStop()  # type: ignore[no-untyped-call]

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return the protocol of a new connection from ``addr``, which must be a proxy's."""
        if not self._factory.trusted_proxies.may_announce(addr):
            host = host_of(addr)
            self._factory.log_limiter.write(
                "trusted_proxy",
                "{peer}: refused, a haproxy: endpoint takes connections from trusted proxies only"
                " (--trusted-proxy)",
                whose=host,
                peer=host,
            )
            return ClosedAtOnce()
        return self._factory.admission.reject_if_full("") or ProxyHeader(self._factory)
