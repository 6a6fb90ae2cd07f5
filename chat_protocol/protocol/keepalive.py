"""Finding out that a peer is gone (docs/protocol.md, clause S9; tcp(7)).

The kernel probes a connection that is idle. It does not while bytes are unacknowledged: then it
repeats those for a quarter of an hour. TCP_USER_TIMEOUT would end that, but ends a connection
whose peer is there and just does not read as well. So the kernel's own account of unanswered
repetitions is looked at.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ISystemHandle, ITCPTransport
from twisted.internet.task import LoopingCall
from twisted.protocols.policies import ProtocolWrapper

from chat_protocol.protocol.connection import ChatProtocol, State

__all__ = ["Heartbeats", "PeerWatch", "keep_alive"]

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
        handle = transport.getHandle()
        if isinstance(handle, socket.socket):
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


class PeerWatch:
    """Looks at some of the connections every second, at each within ROUND_SECONDS.

    Args:
        connections: gives those there are.
        gone: called with each whose peer is gone.
        clock: times the looks.
    """

    def __init__(
        self,
        connections: Callable[[], Iterable[ChatProtocol]],
        gone: Callable[[ChatProtocol], None],
        clock: IReactorTime,
    ) -> None:
        self._connections = connections
        self._gone = gone
        self._round: list[ChatProtocol] = []
        self._share = 0
        self._loop = LoopingCall(self.look)
        self._loop.clock = clock

    def start(self) -> Deferred[LoopingCall]:
        """Begin; fires when stopped, fails when a look fails."""
        return self._loop.start(1, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def look(self) -> None:
        """Look at the next few."""
        if not self._round:
            self._round = list(self._connections())
            self._share = 1 + len(self._round) // ROUND_SECONDS
        now, self._round = self._round[: self._share], self._round[self._share :]
        for connection in now:
            # One that ended since the round began has no socket any more.
            handle = _socket(connection.transport) if connection.state is not State.GONE else None
            if handle is not None and is_gone(_tcp_info(handle)):
                self._gone(connection)


class Heartbeats:
    """Ends the connections that promised a sign of life and gave none for twice as long.

    Looks once a second, so silence is measured to a second.

    Args:
        missed: called with each.
        clock: times the looks.
    """

    def __init__(self, missed: Callable[[ChatProtocol], None], clock: IReactorTime) -> None:
        self._missed = missed
        self._clock = clock
        self._silent: dict[ChatProtocol, tuple[int, float]] = {}
        """The seconds promised, and since when nothing was heard."""
        self._loop = LoopingCall(self.look)
        self._loop.clock = clock

    def start(self) -> Deferred[LoopingCall]:
        """Begin; fires when stopped, fails when a look fails."""
        return self._loop.start(1, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def expect(self, connection: ChatProtocol, seconds: int) -> None:
        """The connection promises something every so often."""
        self._silent[connection] = seconds, self._clock.seconds()

    def forget(self, connection: ChatProtocol) -> None:
        """It promises nothing any more."""
        self._silent.pop(connection, None)

    def look(self) -> None:
        """Look at all of them."""
        now = self._clock.seconds()
        for connection, (seconds, since) in list(self._silent.items()):
            # What is not read from cannot be heard.
            if connection.heard or connection.paused:
                connection.heard = False
                self._silent[connection] = seconds, now
            elif now - since >= 2 * seconds:
                del self._silent[connection]
                self._missed(connection)
