"""Messages that are not answered yet: their bytes are bounded, for each session and in all."""

from __future__ import annotations

from collections.abc import Iterable

from chat_protocol.domain.faults import end_session
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.messages import Message
from chat_protocol.domain.users import Session

__all__ = ["Unanswered"]


class Unanswered:
    """Counts the bytes of messages from :meth:`add` to :meth:`remove`.

    A session is paused when it has more than ``session_backlog`` of them, or when all together have
    more than ``store_backlog``. It goes on at half of both.

    Args:
        limits: see above.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._paused: set[Session] = set()
        self.size = 0
        """Bytes of all sessions."""

    def add(self, message: Message) -> None:
        """Count a message."""
        session, limits = message.sender, self._limits
        session.outstanding += message.size
        self.size += message.size
        if session.outstanding > limits.session_backlog or self.size > limits.store_backlog:
            session.connection.pause(self)
            self._paused.add(session)

    def remove(self, message: Message) -> None:
        """Count a message no more; :meth:`resume` should follow."""
        message.sender.outstanding -= message.size
        self.size -= message.size

    def forget(self, sessions: Iterable[Session]) -> None:
        """Resume none of these: their connections end."""
        self._paused.difference_update(sessions)

    def resume(self) -> None:
        """Let sessions go on that have few enough unanswered messages."""
        if not self._paused or self.size > self._limits.store_backlog // 2:
            return
        threshold = self._limits.session_backlog // 2
        for session in [one for one in self._paused if one.outstanding <= threshold]:
            self._paused.discard(session)
            try:
                session.connection.resume(self)
            except Exception:
                end_session(session, "A request of {peer} met a fault")
