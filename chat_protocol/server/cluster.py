"""The sessions of this node in a cluster: what other nodes do to them."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger
from zope.interface import implementer

from chat_protocol.domain.directory import Directory
from chat_protocol.domain.ports import IClusterListener, ISharedStore
from chat_protocol.domain.users import Session, User
from chat_protocol.server.peer import Observer, Peer
from chat_protocol.server.presence import PresenceFeed
from chat_protocol.wire.codes import Code

__all__ = ["ClusterSessions"]


@implementer(IClusterListener)
class ClusterSessions(Observer):
    """Tells the sessions of this node what a shared store reports.

    Args:
        store: this attaches itself to it at once.
        directory: is told of sessions that are replaced before they have begun.
        presence: is told who comes online and goes offline.
        token_seconds: see Limits.
    """

    log = Logger()

    def __init__(
        self,
        store: ISharedStore,
        directory: Directory,
        presence: PresenceFeed,
        token_seconds: float,
    ) -> None:
        self._store = store
        self._directory = directory
        self._presence = presence
        self._users: dict[int, User] = {}
        """The users that have a session here, by their ids."""
        store.attach(self, token_seconds)

    def check_lease(self) -> None:
        """End all sessions if the lease has run out. Nothing more is delivered or stored then."""
        if not self._store.serving and self._users:
            self.lease_lost()

    def logged_in(self, peer: Peer, session: Session) -> None:
        self._users[session.user.id] = session.user

    def logged_out(self, peer: Peer, session: Session, why: str) -> None:
        if not (session.user.sessions or session.user.senders):
            self._users.pop(session.user.id, None)

    def notified(self, user_ids: Sequence[int] | None) -> None:
        for user_id in list(self._users) if user_ids is None else user_ids:
            user = self._users.get(user_id)
            for session in user.sessions if user is not None else ():
                session.delivery.notified()

    def replaced(self, user_id: int, number: int) -> None:
        self._directory.replaced(number)
        for session in self._sessions_of(user_id):
            if session.number == number:
                session.connection.end(Code.REPLACED, "a new connection of yours took over")

    def _sessions_of(self, user_id: int) -> tuple[Session, ...]:
        user = self._users.get(user_id)
        return () if user is None else user.sessions + user.senders

    def presence_changed(self, name: str, online: bool, time: int) -> None:
        self._presence.tell(name, online, time)

    def lease_lost(self) -> None:
        sessions = [one for user_id in self._users for one in self._sessions_of(user_id)]
        self.log.error(
            "The lease of this node has run out: ending {count} sessions, which other nodes may"
            " have taken over",
            count=len(sessions),
        )
        for session in sessions:
            session.connection.abort()
