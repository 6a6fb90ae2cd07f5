"""Presence: telling sessions which users come online and go offline."""

from __future__ import annotations

from collections.abc import Callable

from chat_protocol.domain.users import Session
from chat_protocol.server.peer import Observer, Peer
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Presence

__all__ = ["PresenceFeed"]


class PresenceFeed(Observer):
    """Sends Presence to the connections that asked for it.

    A connection that has not taken everything gets Presence later, and only the last one of each
    user.

    Args:
        limit: users whose last Presence is kept for one connection. Above it the oldest are
            dropped.
        wall_clock: returns nanoseconds since the epoch.
    """

    def __init__(self, limit: int, wall_clock: Callable[[], int]) -> None:
        self._limit = limit
        self._wall_clock = wall_clock
        self._watchers: dict[Peer, dict[str, bytes]] = {}
        self.behind: set[Peer] = set()
        """Watchers that have missed some Presence."""

    def watch(self, peer: Peer) -> None:
        """Send Presence to a connection from now on."""
        self._watchers[peer] = {}

    def tell(self, name: str, online: bool, time: int, but: Peer | None = None) -> None:
        """Send that a user came online or went offline.

        Args:
            name: of the user.
            online: whether the user came online.
            time: in nanoseconds since the epoch.
            but: a connection that is not told.
        """
        if not self._watchers:
            return
        frame = encode(Presence(name, int(online), time))
        for peer, missed in self._watchers.items():
            if peer is but:
                continue
            if not missed and not peer.output.backlog:
                peer.answer(frame)
                continue
            self.behind.add(peer)
            missed.pop(name, None)
            missed[name] = frame
            if len(missed) > self._limit:
                del missed[next(iter(missed))]

    def drained(self, peer: Peer) -> None:
        """Send a connection what it has missed, because it has taken everything."""
        if peer in self.behind:
            self.behind.discard(peer)
            missed = self._watchers[peer]
            self._watchers[peer] = {}
            peer.answer(b"".join(missed.values()))

    def logged_in(self, peer: Peer, session: Session) -> None:
        self.tell(session.user.name, True, self._wall_clock(), peer)

    def logged_out(self, peer: Peer, session: Session, why: str) -> None:
        self._watchers.pop(peer, None)
        self.behind.discard(peer)
        self.tell(session.user.name, False, self._wall_clock())
