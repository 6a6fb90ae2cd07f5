"""How long a peer may take for what it has begun: to log in, and to finish a frame."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from chat_protocol.domain.limits import Limits
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.state import State
from chat_protocol.server.watches import Watch

__all__ = ["Patience"]


class Patience(Watch):
    """Finds those who take too long, without a timer for each.

    Args:
        limits: ``login_seconds`` and ``frame_seconds``.
        late: called with each who takes too long, and the limit's name.
        also: called at each look.
        clock: times the looks.
    """

    def __init__(
        self,
        limits: Limits,
        late: Callable[[ChatProtocol, str], None],
        also: Callable[[], None],
        clock: IReactorTime,
    ) -> None:
        self._limits = limits
        self._late = late
        self._also = also
        self._clock = clock
        self._without_login: dict[ChatProtocol, float] = {}
        """Since when; all wait for as long, so the first is the first to be late."""
        self._unfinished: dict[ChatProtocol, tuple[object, float]] = {}
        """The frame that was there at the last look, and since when."""
        super().__init__(clock)

    def expect_login(self, connection: ChatProtocol) -> None:
        """A connection is made."""
        if self._limits.login_seconds:
            self._without_login[connection] = self._clock.seconds()

    def logged_in(self, connection: ChatProtocol) -> None:
        """It has a session."""
        self._without_login.pop(connection, None)

    def forget(self, connection: ChatProtocol) -> None:
        """It is gone."""
        self._without_login.pop(connection, None)
        self._unfinished.pop(connection, None)

    def look(self) -> None:
        """See Watch: the logins."""
        self._also()
        now = self._clock.seconds()
        while self._without_login:
            connection, since = next(iter(self._without_login.items()))
            if now - since < self._limits.login_seconds:
                break
            del self._without_login[connection]
            if connection.state is State.LOGGING_IN or connection.unanswered:
                # Now it is the server that takes its time.
                self._without_login[connection] = now
            elif connection.state is State.CONNECTED:
                self._late(connection, "login_seconds")

    def look_at(self, connection: ChatProtocol) -> None:
        """Whether a frame that had begun at the last look is still the same."""
        frame = connection.unfinished if self._limits.frame_seconds else None
        if frame is None:
            self._unfinished.pop(connection, None)
            return
        now = self._clock.seconds()
        known, since = self._unfinished.get(connection, (None, now))
        if known is not frame:
            self._unfinished[connection] = frame, now
        elif now - since >= self._limits.frame_seconds:
            del self._unfinished[connection]
            self._late(connection, "frame_seconds")
