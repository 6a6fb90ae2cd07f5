"""The sessions of this node in a cluster: what other nodes do to them."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger
from zope.interface import implementer

from chat_protocol.domain.ports import IClusterListener, ISharedStore
from chat_protocol.domain.users import Session
from chat_protocol.server.peer import Observer, Peer
from chat_protocol.server.presence import PresenceFeed
from chat_protocol.wire.codes import Code

__all__ = ["ClusterSessions"]


@implementer(IClusterListener)
class ClusterSessions(Observer):
    """Tells the sessions of this node what a shared store reports.

    Args:
        store: this attaches itself to it at once.
        presence: is told about the users of other nodes.
    """

    log = Logger()

    def __init__(self, store: ISharedStore, presence: PresenceFeed) -> None:
        self._store = store
        self._presence = presence
        self._sessions: dict[int, Session] = {}
        store.attach(self)

    def check_lease(self) -> None:
        """End all sessions if the lease has run out. Nothing more is delivered or stored then."""
        if not self._store.serving and self._sessions:
            self.lease_lost()

    def logged_in(self, peer: Peer, session: Session) -> None:
        self._sessions[session.user.id] = session

    def logged_out(self, peer: Peer, session: Session, why: str) -> None:
        if self._sessions.get(session.user.id) is session:
            del self._sessions[session.user.id]

    def notified(self, user_ids: Sequence[int] | None) -> None:
        for user_id in list(self._sessions) if user_ids is None else user_ids:
            session = self._sessions.get(user_id)
            if session is not None:
                session.delivery.notified()

    def replaced(self, user_id: int, number: int) -> None:
        session = self._sessions.get(user_id)
        if session is not None and session.number == number:
            session.connection.end(Code.REPLACED, "a new connection of yours took over")

    def presence_changed(self, name: str, online: bool, time: int) -> None:
        self._presence.tell(name, online, time)

    def lease_lost(self) -> None:
        sessions = list(self._sessions.values())
        self.log.error(
            "The lease of this node has run out: ending {count} sessions, which other nodes may"
            " have taken over",
            count=len(sessions),
        )
        for session in sessions:
            session.connection.abort()
