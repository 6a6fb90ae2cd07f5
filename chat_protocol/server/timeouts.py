"""Timeouts of connections: for the login and for each frame."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.users import Session
from chat_protocol.server.peer import Connection, Observer, Peer
from chat_protocol.server.state import ConnectionState
from chat_protocol.server.watch import Watch

__all__ = ["Timeouts"]


class Timeouts(Watch, Observer):
    """Finds connections that take too long, without a timer for each one.

    Args:
        limits: ``login_seconds`` and ``frame_seconds`` are used.
        expired: called with each connection that takes too long, and the limit's name.
        clock: times the checks.
    """

    def __init__(
        self, limits: Limits, expired: Callable[[Connection, str], None], clock: IReactorTime
    ) -> None:
        self._limits = limits
        self._expired = expired
        self._clock = clock
        self._without_login: dict[Connection, float] = {}
        """When each connection without a login began."""
        self._unfinished: dict[Connection, tuple[object, float]] = {}
        """The unfinished frame of each connection, and the first check that found it."""
        super().__init__(clock)

    def connected(self, connection: Connection) -> None:
        if self._limits.login_seconds:
            self._without_login[connection] = self._clock.seconds()

    def handed_over(self, before: Connection, after: Connection) -> None:
        # The time before the handover counts.
        since = self._without_login.pop(before, None)
        if since is not None:
            self._without_login[after] = since
        self._unfinished.pop(before, None)

    def logged_in(self, peer: Peer, session: Session) -> None:
        self._without_login.pop(peer, None)

    def disconnected(self, connection: Connection) -> None:
        self._without_login.pop(connection, None)
        self._unfinished.pop(connection, None)

    def check(self) -> None:
        """Check the logins."""
        now = self._clock.seconds()
        expired = now - self._limits.login_seconds
        for connection in [one for one, since in self._without_login.items() if since <= expired]:
            del self._without_login[connection]
            if connection.state is ConnectionState.LOGGING_IN or connection.unanswered:
                # Now it is the server that takes its time.
                self._without_login[connection] = now
            elif connection.state is ConnectionState.CONNECTED:
                self._expired(connection, "login_seconds")

    def check_frame(self, connection: Connection) -> None:
        """Check whether the frame that had begun at the last check is still unfinished."""
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
            self._expired(connection, "frame_seconds")
