"""What other processes over the same store do to the sessions of this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.logger import Logger
from zope.interface import implementer

from chat_protocol.interfaces import INeighbours, ISharedStore
from chat_protocol.wire.codes import Code

if TYPE_CHECKING:
    from chat_protocol.domain.session import Session
    from chat_protocol.server.factory import ChatFactory

__all__ = ["Neighbours"]


@implementer(INeighbours)
class Neighbours:
    """Carries over to the sessions what a shared store tells.

    Args:
        factory: whose sessions they are.
        store: attached to at once.
    """

    log = Logger()

    def __init__(self, factory: ChatFactory, store: ISharedStore) -> None:
        self._factory = factory
        self._store = store
        self._sessions: dict[int, Session] = {}
        store.attach(self)

    def check(self) -> None:
        """Once the lease has run out, nothing more is delivered or stored for anybody."""
        if not self._store.serving and self._sessions:
            self.lease_lost()

    def begins(self, session: Session) -> None:
        """A session of this process begins."""
        self._sessions[session.user.id] = session

    def ends(self, session: Session) -> None:
        """It is over."""
        if self._sessions.get(session.user.id) is session:
            del self._sessions[session.user.id]

    def rung(self, user_ids: Sequence[int] | None) -> None:
        """See INeighbours."""
        for user_id in list(self._sessions) if user_ids is None else user_ids:
            session = self._sessions.get(user_id)
            if session is not None:
                session.delivery.rung()

    def replaced(self, user_id: int, number: int) -> None:
        """See INeighbours."""
        session = self._sessions.get(user_id)
        if session is not None and session.number == number:
            session.connection.end(Code.REPLACED, "a new connection of yours took over")

    def came_or_went(self, name: str, online: bool, time: int) -> None:
        """See INeighbours."""
        self._factory.presences.tell(name, online, time)

    def lease_lost(self) -> None:
        """See INeighbours."""
        sessions = list(self._sessions.values())
        self.log.error("Dropping {count} sessions: others may have them", count=len(sessions))
        for session in sessions:
            session.connection.drop()
