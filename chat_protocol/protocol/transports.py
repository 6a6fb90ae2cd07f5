"""What lies below a connection: TLS, wrappers such as the PROXY protocol's, a socket."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.protocols.policies import ProtocolWrapper

__all__ = ["close_below_tls", "descriptor_below", "is_tls", "tls_below", "write_at_once"]


def is_tls(transport: Any) -> bool:
    """Whether a transport speaks TLS, from its beginning or since."""
    # Wrappers lend their attributes, this one among them; a plain socket has none.
    return hasattr(transport, "getPeerCertificate")


def tls_below(transport: Any) -> Any:
    """The TLSMemoryBIOProtocol of a transport; None if it speaks no TLS, or another's."""
    if not is_tls(transport):
        return None
    # Here, for the extra that it needs may not be installed.
    from twisted.protocols.tls import TLSMemoryBIOProtocol

    while isinstance(transport, ProtocolWrapper):
        if isinstance(transport, TLSMemoryBIOProtocol):
            return transport
        transport = transport.transport
    # startTLS puts it between a socket and the protocol.
    tls = getattr(transport, "protocol", None)
    return tls if isinstance(tls, TLSMemoryBIOProtocol) else None


def descriptor_below(transport: Any) -> FileDescriptor | None:
    """What writes to the socket in the end; None if that is no FileDescriptor."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, FileDescriptor) else None


def write_at_once(tls: Any, data: bytes) -> None:
    """Write to what :func:`tls_below` gave."""
    from twisted.protocols.tls import TLSMemoryBIOProtocol

    # The instance's own would gather until the next turn of the reactor.
    TLSMemoryBIOProtocol.write(tls, data)  # type: ignore[no-untyped-call]


def close_below_tls(transport: Any) -> None:
    """Close the connection, once everything is written, and wait no longer for close_notify."""
    tls = tls_below(transport)
    (transport if tls is None else tls.transport).loseConnection()
