"""Detecting peers that have vanished (docs/protocol.md, clause S9; tcp(7)).

The kernel probes an idle connection. While bytes are unacknowledged it does not probe, but
retransmits them for a quarter of an hour. TCP_USER_TIMEOUT would end that, but it also ends a
connection whose peer is there and does not read. So the kernel is asked for its count of
retransmissions and probes that were not answered.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from chat_protocol.transport.sockets import tcp_socket

__all__ = ["ROUND_SECONDS", "has_vanished", "keep_alive", "keep_socket_alive"]

IDLE_SECONDS = 30
INTERVAL_SECONDS = 10
PROBES = 3

SILENT_SECONDS = 45
"""After so long without an acknowledgment, retransmissions mean that the peer has vanished."""

ROUND_SECONDS = 10
"""Seconds in which every connection is checked once."""

_TCP_INFO = struct.Struct("=8B 13I")
_UNANSWERED = 2
"""Retransmissions or probes."""


class SocketOptions(Protocol):
    """A socket, or what an event loop of asyncio shows of one."""

    def setsockopt(self, level: int, option: int, value: int, /) -> object:
        """Set an option as socket.socket does."""


class _TCPInfo(NamedTuple):
    """The parts of tcp(7)'s TCP_INFO that are used here."""

    retransmits: int
    probes: int
    last_ack_received: int
    """Milliseconds ago."""


def keep_alive(transport: Any) -> None:
    """Have the kernel probe an idle peer, and send small segments at once.

    Nothing happens on a transport that is not TCP.
    """
    handle = tcp_socket(transport)
    if handle is not None:
        keep_socket_alive(handle)


def keep_socket_alive(handle: SocketOptions) -> None:
    """Set the options of :func:`keep_alive` on a TCP socket."""
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


def is_vanished(info: _TCPInfo) -> bool:
    """Return whether the peer has stopped acknowledging what is sent to it again and again."""
    if info.last_ack_received < SILENT_SECONDS * 1000:
        return False
    return max(info.retransmits, info.probes) >= _UNANSWERED


def has_vanished(transport: Any) -> bool:
    """Return whether the peer of an open transport has vanished, as far as the kernel knows."""
    handle = tcp_socket(transport)
    return handle is not None and is_vanished(_tcp_info(handle))
