"""Peers that have vanished without closing their connection (docs/protocol.md, S9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IReactorTime

from chat_protocol.server.peer import Connection
from chat_protocol.server.state import ConnectionState
from chat_protocol.server.watch import Watch
from chat_protocol.transport.keepalive import ROUND_SECONDS, has_vanished

__all__ = ["VanishedPeers"]


class VanishedPeers(Watch):
    """Checks all connections within ROUND_SECONDS, some of them at a time.

    Args:
        connections: returns all connections.
        vanished: called with each whose peer has vanished.
        alive: called with each of the others.
        clock: times the checks.
    """

    interval = 0.1

    def __init__(
        self,
        connections: Callable[[], Iterable[Connection]],
        vanished: Callable[[Connection], None],
        alive: Callable[[Connection], None],
        clock: IReactorTime,
    ) -> None:
        self._connections = connections
        self._vanished = vanished
        self._alive = alive
        self._round: list[Connection] = []
        self._share = 0
        super().__init__(clock)

    def check(self) -> None:
        """Check the next connections."""
        if not self._round:
            self._round = list(self._connections())
            self._share = 1 + int(len(self._round) * self.interval / ROUND_SECONDS)
        now, self._round = self._round[: self._share], self._round[self._share :]
        for connection in now:
            # One that ended since the round began has no socket any more.
            if connection.state is ConnectionState.GONE:
                continue
            if has_vanished(connection.transport):
                self._vanished(connection)
            else:
                self._alive(connection)
