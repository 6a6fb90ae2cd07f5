"""What a node keeps in memory, so that a batch need not read it."""

from __future__ import annotations

from collections.abc import Iterable

from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.users import Session

__all__ = ["Known", "Published"]

_PEERS_KEPT = 100_000
"""Pairs of users that are kept."""

_PUBLISHERS_KEPT = 1000
"""Sessions whose publishing ids are kept."""


class Published:
    """The publishing ids that are stored for one user and device.

    Args:
        rows: first and last id of each range in the table, ascending.
    """

    __slots__ = ("ids", "row")

    def __init__(self, rows: Iterable[tuple[int, int]] = ()) -> None:
        self.ids = Ranges()
        self.row = 0
        """The ``first`` of the highest row in the table: it is not cut where ``ids`` are."""
        for first, last in rows:
            self.ids.append(first, last + 1)
            self.row = first


class Known:
    """What a node knows of its own sessions: no other node can change it meanwhile."""

    def __init__(self) -> None:
        self._peers: set[tuple[int, int]] = set()
        self._published: dict[tuple[int, int, int], Published] = {}

    def forget(self) -> None:
        """Forget everything: a batch failed, and what it would have stored is not stored."""
        self._peers.clear()
        self._published.clear()

    def meet(self, one: int, other: int) -> bool:
        """Note that two users are peers; return whether that is new."""
        pair = one, other
        if pair in self._peers:
            return False
        if len(self._peers) >= _PEERS_KEPT:
            self._peers.clear()
        self._peers.add(pair)
        return True

    def published(self, sender: Session) -> Published | None:
        """Return the publishing ids of a session's user and device; None: they are not known."""
        return self._published.get((sender.user.id, sender.device_id, sender.number))

    def add_published(self, sender: Session, published: Published) -> None:
        """Note the publishing ids of a session's user and device."""
        if len(self._published) >= _PUBLISHERS_KEPT:
            self._published.clear()
        self._published[sender.user.id, sender.device_id, sender.number] = published
