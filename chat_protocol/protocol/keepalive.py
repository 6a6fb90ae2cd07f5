"""Finding out that a peer is gone (docs/protocol.md, clause S9; tcp(7))."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import ISystemHandle, ITCPTransport

__all__ = ["keep_alive"]

IDLE_SECONDS = 30
INTERVAL_SECONDS = 10
PROBES = 3


def keep_alive(transport: Any) -> None:
    """Have the kernel probe an idle peer, and send small segments at once.

    Other transports than TCP are left alone.
    """
    if not ITCPTransport.providedBy(transport):
        return
    transport.setTcpKeepAlive(True)
    transport.setTcpNoDelay(True)
    if ISystemHandle.providedBy(transport):
        handle = transport.getHandle()
        if isinstance(handle, socket.socket):
            with suppress(OSError, AttributeError):
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_SECONDS)
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
