"""What lies below a connection: TLS, wrappers such as the PROXY protocol's, a socket."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

__all__ = [
    "close_below_tls",
    "close_socket",
    "descriptor_below",
    "is_announced",
    "is_closing",
    "is_tls",
    "tls_below",
    "write_at_once",
]


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


def is_announced(transport: Any) -> bool:
    """Whether a wrapper such as the PROXY protocol's has been told whose connection it is."""
    descriptor = descriptor_below(transport)
    if descriptor is None:
        return False
    below: object = descriptor.getPeer()  # type: ignore[no-untyped-call]
    return bool(transport.getPeer() != below)


def is_closing(transport: Any) -> bool:
    """Whether the connection was to be closed from this side."""
    descriptor = descriptor_below(transport)
    return descriptor is not None and bool(descriptor.disconnecting)


def close_socket(transport: Any) -> None:
    """Close a connection, without waiting for the kernel to have room for more.

    What it has not sent yet still goes out, if the peer takes it (tcp(7), ``tcp_orphan_retries``).
    """
    descriptor = descriptor_below(transport)
    if descriptor is None:
        transport.loseConnection()
    else:
        # loseConnection would wait until the socket is writable: for ever, if nobody reads.
        done = Failure(ConnectionDone())  # type: ignore[no-untyped-call]
        descriptor.connectionLost(done)  # type: ignore[no-untyped-call]


def write_at_once(tls: Any, data: bytes) -> None:
    """Write to what :func:`tls_below` gave."""
    from twisted.protocols.tls import TLSMemoryBIOProtocol

    # The instance's own would gather until the next turn of the reactor.
    TLSMemoryBIOProtocol.write(tls, data)  # type: ignore[no-untyped-call]


def close_below_tls(transport: Any) -> None:
    """Close the connection, once everything is written, and wait no longer for close_notify."""
    tls = tls_below(transport)
    (transport if tls is None else tls.transport).loseConnection()
