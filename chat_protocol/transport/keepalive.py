"""Finding out that a peer is gone (docs/protocol.md, clause S9; tcp(7)).

The kernel probes a connection that is idle. It does not while bytes are unacknowledged: then it
repeats those for a quarter of an hour. TCP_USER_TIMEOUT would end that, but ends a connection
whose peer is there and just does not read as well. So the kernel's own account of unanswered
repetitions is looked at.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any, NamedTuple

from twisted.internet.interfaces import ISystemHandle, ITCPTransport
from twisted.protocols.policies import ProtocolWrapper

__all__ = ["ROUND_SECONDS", "has_vanished", "keep_alive"]

IDLE_SECONDS = 30
INTERVAL_SECONDS = 10
PROBES = 3

SILENT_SECONDS = 45
"""After so long without an acknowledgement, repetitions mean that the peer is gone."""

ROUND_SECONDS = 10
"""How long it takes to look at every connection once."""

_TCP_INFO = struct.Struct("=8B 13I")
_REPETITIONS = 2


class _TCPInfo(NamedTuple):
    """What tcp(7) says of a connection, as far as it matters here."""

    retransmits: int
    probes: int
    last_ack_received: int
    """Milliseconds ago."""


def _socket(transport: Any) -> socket.socket | None:
    while isinstance(transport, ProtocolWrapper):
        # TLS and the PROXY protocol: the socket is below.
        transport = transport.transport
    if ITCPTransport.providedBy(transport) and ISystemHandle.providedBy(transport):
        # The class's own: startTLS puts one for the TLS connection into the instance.
        handle = type(transport).getHandle(transport)
        # Twisted's UNIX transports claim to be of TCP.
        if isinstance(handle, socket.socket) and handle.family != socket.AF_UNIX:
            return handle
    return None


def keep_alive(transport: Any) -> None:
    """Have the kernel probe an idle peer, and send small segments at once.

    Other transports than TCP are left alone.
    """
    handle = _socket(transport)
    if handle is None:
        return
    with suppress(OSError):
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_SECONDS)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def _tcp_info(handle: socket.socket) -> _TCPInfo:
    values = _TCP_INFO.unpack(
        handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    )
    return _TCPInfo(values[2], values[3], values[20])


def is_gone(info: _TCPInfo) -> bool:
    """Whether the peer has stopped to acknowledge what is sent to it again and again."""
    if info.last_ack_received < SILENT_SECONDS * 1000:
        return False
    return max(info.retransmits, info.probes) >= _REPETITIONS


def has_vanished(transport: Any) -> bool:
    """Whether the peer of an open transport is gone, as far as can be told."""
    handle = _socket(transport)
    return handle is not None and is_gone(_tcp_info(handle))
