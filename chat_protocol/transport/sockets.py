"""What lies below a connection: TLS, other wrappers, a socket.

This is the only module that touches internals of Twisted: attributes that no public interface
names, and methods that are meant for the reactor. tests/transport/test_sockets.py has a test for
each, which says what has changed when a new version of Twisted changes it. Without them the server
falls back to the public interfaces:

- ``FileDescriptor.startWriting``: output goes through ITransport.write, and a message counts as
  taken when the transport asks for more.
- ``FileDescriptor.bufferSize``, ``doWrite``: the reactor writes what a transport has buffered.
- ``FileDescriptor.reactor``, ``FileDescriptor.disconnected``: the reactor reads each connection by
  itself.
- ``Connection.bufferSize``, ``Port.numberAccepts``, ``Server.server``: more is read and accepted at
  a time from connections without a session.
- ``FileDescriptor.connectionLost``: a connection whose peer reads nothing is aborted.
- ``Connection.protocol``, ``ProtocolWrapper.wrappedProtocol``: the first protocol of a connection
  passes on what it receives.
- ``TLSMemoryBIOProtocol.write``: TLS gathers what is written for one more reactor turn.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISystemHandle, ITCPTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

__all__ = [
    "READ_SIZE",
    "SEND_LIMIT",
    "accept_few",
    "clamp_window",
    "close_below_tls",
    "close_socket",
    "descriptor_below",
    "hand_over",
    "is_closing",
    "is_lost",
    "is_tls",
    "reactor_of",
    "set_reactor",
    "set_read_size",
    "tcp_socket",
    "tls_below",
    "tls_written_by",
    "unbuffered",
    "write_at_once",
    "write_pending",
    "write_when_ready",
    "writes_directly",
]


READ_SIZE = 64 * 1024
"""Bytes that are read from a socket at a time, as Twisted does it."""

SEND_LIMIT = FileDescriptor.SEND_LIMIT
"""Bytes that a socket is offered at a time."""

_WRITES = 8
"""Attempts to have the kernel take all of a write before the reactor goes on with it."""


# What is below.


def descriptor_below(transport: Any) -> FileDescriptor | None:
    """Return what writes to the socket in the end; None if that is no FileDescriptor."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, FileDescriptor) else None


def is_tls(transport: Any) -> bool:
    """Return whether a transport speaks TLS, from its beginning or since startTLS."""
    # Wrappers lend the attributes of what they wrap, this one among them; a plain socket has none.
    return hasattr(transport, "getPeerCertificate")


def tls_below(transport: Any) -> Any:
    """Return the TLSMemoryBIOProtocol of a transport; None if it has none."""
    if not is_tls(transport):
        return None
    # Here, for the extra that it needs may not be installed.
    from twisted.protocols.tls import TLSMemoryBIOProtocol

    while isinstance(transport, ProtocolWrapper):
        if isinstance(transport, TLSMemoryBIOProtocol):
            return transport
        transport = transport.transport
    return None


def tls_written_by(transport: Any) -> Any:
    """Return the TLSMemoryBIOProtocol that gets unchanged what is written to a transport, or None.

    A wrapper with a ``write`` of its own, such as a WebSocket's, changes it.
    """
    tls = tls_below(transport)
    while transport is not tls and isinstance(transport, ProtocolWrapper):
        if type(transport).write is not ProtocolWrapper.write:
            return None
        transport = transport.transport
    return tls


def tcp_socket(transport: Any) -> socket.socket | None:
    """Return the socket below a transport; None if it is not one of TCP."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    if ITCPTransport.providedBy(transport) and ISystemHandle.providedBy(transport):
        handle = transport.getHandle()
        # Twisted's UNIX transports claim to be of TCP.
        if isinstance(handle, socket.socket) and handle.family != socket.AF_UNIX:
            return handle
    return None


# Receiving.


def hand_over(transport: Any, before: object, after: object) -> bool:
    """Have what a transport receives go to another protocol from now on.

    Returns:
        False if that cannot be done: then ``before`` has to pass on what it receives.
    """
    for receiver, name in _receivers(transport):
        if getattr(receiver, name, None) is before:
            setattr(receiver, name, after)
            return True
    return False


def _receivers(transport: Any) -> Iterator[tuple[Any, str]]:
    """Yield what passes on received bytes, and its attribute that says to which protocol."""
    while isinstance(transport, ProtocolWrapper):
        yield transport, "wrappedProtocol"
        transport = transport.transport
    yield transport, "protocol"


def reactor_of(descriptor: FileDescriptor) -> Any:
    """Return what a socket is read by; None if :func:`set_reactor` cannot change it."""
    return getattr(descriptor, "reactor", None)


def set_reactor(descriptor: FileDescriptor, reactor: Any) -> None:
    """Have a socket read by another provider of IReactorFDSet, from its next resumption on."""
    descriptor.reactor = reactor


def is_lost(descriptor: Any) -> bool:
    """Return whether a transport has lost its connection, and is about to close its socket."""
    return bool(getattr(descriptor, "disconnected", False))


def set_read_size(transport: Any, size: int) -> None:
    """Read at most so many bytes at a time from the socket below a transport."""
    descriptor = descriptor_below(transport)
    if descriptor is not None and hasattr(descriptor, "bufferSize"):
        descriptor.bufferSize = size


def accept_few(transport: Any, count: int) -> None:
    """Have the port that accepted a connection accept few at a time.

    Args:
        transport: of the connection, just accepted.
        count: the number. Twisted accepts 20 more while that is not enough.
    """
    port = getattr(descriptor_below(transport), "server", None)
    if port is not None and hasattr(port, "numberAccepts"):
        port.numberAccepts = count


def clamp_window(transport: Any, size: int) -> None:
    """Bound the receive window of a TCP connection in bytes; see TCP_WINDOW_CLAMP in tcp(7).

    Unlike SO_RCVBUF, this leaves the automatic tuning of the window on. Where there is no such
    option, the window is as before.
    """
    handle = tcp_socket(transport)
    if handle is not None and hasattr(socket, "TCP_WINDOW_CLAMP"):
        with suppress(OSError):
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, size)


# Writing.


def writes_directly(transport: Any) -> bool:
    """Return whether one may write to a transport's socket past it: a plain one, without TLS."""
    # Not by hasattr alone: a TLS wrapper lends the attributes of the socket below it.
    return (
        isinstance(transport, FileDescriptor)
        and not is_tls(transport)
        and hasattr(transport, "startWriting")
        and ISystemHandle.providedBy(transport)
    )


def write_when_ready(transport: Any) -> None:
    """Have the producer of a transport asked for more when the kernel has room again."""
    transport.startWriting()


@contextmanager
def unbuffered(descriptor: FileDescriptor) -> Iterator[None]:
    """Have any byte that a transport buffers count as a full buffer."""
    # The attribute is the size of a read, too.
    size = getattr(descriptor, "bufferSize", None)
    if size is None:
        yield
        return
    descriptor.bufferSize = 0
    try:
        yield
    finally:
        descriptor.bufferSize = size


def write_pending(descriptor: FileDescriptor, pending: Callable[[], bool]) -> None:
    """Have a transport write what it buffers, as far as the kernel takes it."""
    if not hasattr(descriptor, "doWrite"):
        return
    for _ in range(_WRITES):
        descriptor.doWrite()  # type: ignore[no-untyped-call]
        if not pending():
            break


def write_at_once(tls: Any, data: bytes) -> None:
    """Write to what :func:`tls_below` returned, without waiting for the end of the turn."""
    from twisted.protocols.tls import TLSMemoryBIOProtocol

    if "write" in vars(TLSMemoryBIOProtocol):
        TLSMemoryBIOProtocol.write(tls, data)  # type: ignore[no-untyped-call]
    else:
        # The instance's own gathers until the next turn of the reactor.
        tls.write(data)


# Closing.


def is_closing(transport: Any) -> bool:
    """Return whether the connection was to be closed from this side."""
    return bool(getattr(descriptor_below(transport), "disconnecting", False))


def close_socket(transport: Any) -> None:
    """Close a connection, without waiting for the kernel to have room for more.

    What it has not sent yet still goes out, if the peer takes it (tcp(7), ``tcp_orphan_retries``).
    """
    descriptor = descriptor_below(transport)
    if descriptor is None:
        transport.loseConnection()
    elif hasattr(descriptor, "connectionLost"):
        # loseConnection would wait until the socket is writable: for ever, if the peer reads none.
        done = Failure(ConnectionDone())  # type: ignore[no-untyped-call]
        descriptor.connectionLost(done)  # type: ignore[no-untyped-call]
    else:
        transport.abortConnection()


def close_below_tls(transport: Any) -> None:
    """Close the connection, once everything is written, and wait no longer for close_notify."""
    tls = tls_below(transport)
    (transport if tls is None else tls.transport).loseConnection()
