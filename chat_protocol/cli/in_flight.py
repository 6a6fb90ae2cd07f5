"""Messages on their way whose answers have not come."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from chat_protocol.cli.exit_codes import Exit, Failed
from chat_protocol.cli.session import Session

__all__ = ["Unanswered"]

T = TypeVar("T")


class Unanswered:
    """Counts them, and ends the session when a server that is there answers none of them.

    Args:
        reactor: measures time.
        session: whose messages they are.
        timeout: seconds without an answer, with a connection and with somebody who waits.
    """

    def __init__(self, reactor: Any, session: Session, timeout: float) -> None:
        self.count = 0
        self._reactor = reactor
        self._session = session
        self._timeout = timeout
        self._progress: Deferred[None] | None = None
        self._watch: IDelayedCall | None = None

    def add(self, answer: Deferred[T]) -> Deferred[T]:
        """One more, until it fires."""
        self.count += 1
        return answer.addBoth(self._answered)

    async def at_most(self, count: int) -> None:
        """Wait until there are no more than that many; raises what ends the session."""
        while self.count > count:
            self._progress = Deferred()
            self._look_in(self._timeout, self._reactor.seconds())
            try:
                await self._progress
            finally:
                if self._watch is not None:
                    self._watch.cancel()
        self._session.check()

    def _answered(self, result: T) -> T:
        self.count -= 1
        progress, self._progress = self._progress, None
        if progress is not None and not progress.called:
            progress.callback(None)
        return result

    def _look_in(self, seconds: float, since: float) -> None:
        self._watch = self._reactor.callLater(seconds, self._look, since)

    def _look(self, since: float) -> None:
        """Give up, unless the connection is away or back for a shorter time than that."""
        self._watch = None
        now = self._reactor.seconds()
        online = self._session.client.version is not None
        left = self._timeout - (now - max(since, self._session.online_since) if online else 0)
        if left > 0:
            self._look_in(left, since)
            return
        self._session.end(
            Failed(
                Exit.TIMEOUT,
                f"{self._session.server}: the server did not answer within {self._timeout:g} "
                f"seconds; {self.count} of the messages may be stored or not",
            )
        )
