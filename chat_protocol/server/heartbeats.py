"""Heartbeats: silence on connections that promised to send something (docs/protocol.md, S54)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from chat_protocol.domain.users import Session
from chat_protocol.server.peer import Observer, Peer
from chat_protocol.server.watch import Watch

__all__ = ["Heartbeats"]


class Heartbeats(Watch, Observer):
    """Finds connections that have been silent for twice the heartbeat that they promised.

    It checks once a second. So silence is measured to a precision of one second.

    Args:
        missed: called with each such connection.
        clock: times the checks.
    """

    def __init__(self, missed: Callable[[Peer], None], clock: IReactorTime) -> None:
        self._missed = missed
        self._clock = clock
        self._silent: dict[Peer, tuple[int, float]] = {}
        """The heartbeat in seconds, and when the connection was last heard."""
        super().__init__(clock)

    def expect(self, peer: Peer, seconds: int) -> None:
        """Expect bytes from a connection at least every ``seconds``."""
        self._silent[peer] = seconds, self._clock.seconds()

    def logged_out(self, peer: Peer, session: Session, why: str) -> None:
        self._silent.pop(peer, None)

    def check(self) -> None:
        now = self._clock.seconds()
        for peer, (seconds, since) in list(self._silent.items()):
            # A paused connection is not read, so it cannot be heard.
            if peer.heard or peer.paused:
                peer.heard = False
                self._silent[peer] = seconds, now
            elif now - since >= 2 * seconds:
                del self._silent[peer]
                self._missed(peer)
