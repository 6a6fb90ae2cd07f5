"""Presence: telling sessions which users come online and go offline."""

from __future__ import annotations

from collections.abc import Callable

from chat_protocol.domain.users import Session, User
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
        is_shared: whether a store that nodes share reports who comes online and goes offline.
    """

    def __init__(self, limit: int, wall_clock: Callable[[], int], is_shared: bool = False) -> None:
        self._limit = limit
        self._is_shared = is_shared
        self._wall_clock = wall_clock
        self._watchers: dict[Peer, dict[str, bytes]] = {}
        self.behind: set[Peer] = set()
        """Watchers that have missed some Presence."""

    def watch(self, peer: Peer) -> None:
        """Send Presence to a connection from now on."""
        self._watchers[peer] = {}

    def came_online(self, user: User) -> None:
        """Note that the first session of a user at this server has begun."""
        if not self._is_shared:
            self.tell(user.name, True, self._wall_clock())

    def went_offline(self, user: User) -> None:
        """Note that the last session of a user at this server has ended."""
        if not self._is_shared:
            self.tell(user.name, False, self._wall_clock())

    def tell(self, name: str, online: bool, time: int) -> None:
        """Send to all but the user that a user came online or went offline.

        Args:
            name: of the user.
            online: whether the user came online.
            time: in nanoseconds since the epoch.
        """
        if not self._watchers:
            return
        frame = encode(Presence(name, int(online), time))
        for peer, missed in self._watchers.items():
            if peer.session is not None and peer.session.user.name == name:
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

    def logged_out(self, peer: Peer, session: Session, why: str) -> None:
        self._watchers.pop(peer, None)
        self.behind.discard(peer)
