"""Messages in flight, and the timeout for their answers."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode
from chat_protocol.cli.session import ClientSession

__all__ = ["InFlight"]

T = TypeVar("T")


class InFlight:
    """Count the messages in flight; end the session if a connected server answers none of them.

    Args:
        reactor: schedules the timeout.
        session: the session that sends the messages.
        timeout: seconds without any answer while connected; it applies only while a caller waits.
    """

    def __init__(self, reactor: Any, session: ClientSession, timeout: float) -> None:
        self.count = 0
        self._reactor = reactor
        self._session = session
        self._timeout = timeout
        self._progress: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    def add(self, answer: Deferred[T]) -> Deferred[T]:
        """Count a message until its Deferred fires."""
        self.count += 1
        return answer.addBoth(self._answered)

    @property
    def waiting_notice(self) -> str:
        """The sentence to show while the end of the run waits for answers."""
        answers = "an answer" if self.count == 1 else f"{self.count} answers"
        return f"waiting for {answers} from the server; Ctrl-C quits immediately"

    async def wait_until_at_most(self, count: int) -> None:
        """Wait until at most ``count`` messages are in flight; raise what ends the session."""
        while self.count > count:
            self._progress = Deferred()
            self._schedule_check(self._timeout, self._reactor.seconds())
            try:
                await self._progress
            finally:
                if self._timer is not None:
                    self._timer.cancel()
        self._session.raise_if_ended()

    def _answered(self, result: T) -> T:
        self.count -= 1
        progress, self._progress = self._progress, None
        if progress is not None and not progress.called:
            progress.callback(None)
        return result

    def _schedule_check(self, seconds: float, since: float) -> None:
        self._timer = self._reactor.callLater(seconds, self._check, since)

    def _check(self, since: float) -> None:
        """End the session, unless it is offline or has been online for less than the timeout."""
        self._timer = None
        now = self._reactor.seconds()
        online = self._session.client.version is not None
        remaining = self._timeout - (now - max(since, self._session.online_since) if online else 0)
        if remaining > 0:
            self._schedule_check(remaining, since)
            return
        messages = "1 message" if self.count == 1 else f"{self.count} messages"
        self._session.end(
            CommandFailed(
                ExitCode.TIMEOUT,
                f"{self._session.server}: the server did not answer within {self._timeout:g} "
                f"seconds; {messages} may or may not have been stored",
            )
        )
