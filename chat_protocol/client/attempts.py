"""Connection attempts: the callers that wait for a login, and the reason of the last failure."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.client.waiters import PendingFailure
from chat_protocol.errors import (
    AuthenticationFailed,
    ChatError,
    InvalidUsername,
    Malformed,
    NotConnected,
    UnknownCommand,
    UserAlreadyLogged,
    UserNotFound,
)

__all__ = ["ConnectionAttempts", "WatchedEndpoint", "end_error", "is_permanent"]

_PERMANENT = (AuthenticationFailed, InvalidUsername, Malformed, UnknownCommand, UserNotFound)
"""Login refusals that the same login would meet again."""


def is_permanent(refusal: ChatError, had_session: bool) -> bool:
    """Return whether retrying a refused login is pointless.

    Args:
        refusal: the server's answer.
        had_session: whether the name may be in use by an earlier session of this client that the
            server has not yet detected as lost.
    """
    if isinstance(refusal, UserAlreadyLogged):
        return not had_session
    return isinstance(refusal, _PERMANENT)


def end_error(reason: Exception | None) -> Exception:
    """Return a new error for a caller that waits when the client ends.

    Each caller gets its own instance, because a raised error keeps its traceback.

    Args:
        reason: why the client ended; None: the application stopped it.
    """
    if reason is None:
        return NotConnected("the client has stopped")
    if isinstance(reason, ChatError):
        return copy(reason)
    error = NotConnected(f"the client has stopped: a callback raised {type(reason).__name__}")
    error.__cause__ = reason
    return error


@implementer(IStreamClientEndpoint)
class WatchedEndpoint:
    """Wrap an endpoint and report its failures; a NotConnected of the endpoint as it is.

    Args:
        endpoint: makes the connections.
        failed: called with the error of each failed attempt, including canceled ones.
    """

    def __init__(
        self, endpoint: IStreamClientEndpoint, failed: Callable[[NotConnected], object]
    ) -> None:
        self._endpoint = endpoint
        self._failed = failed

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        def failed(failure: Failure) -> Failure:
            error = failure.value
            if not isinstance(error, NotConnected):
                error = NotConnected(f"cannot connect: {failure.getErrorMessage()}")
                error.__cause__ = failure.value
            self._failed(error)
            return failure

        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addErrback(failed)

    def __repr__(self) -> str:
        return repr(self._endpoint)


class ConnectionAttempts:
    """Keep the callers that wait for the client to go online, with the number of failures each
    allows."""

    def __init__(self) -> None:
        self._waiting: dict[Deferred[None], int | None] = {}
        self._refusal: ChatError | None = None
        self.reason: ChatError = NotConnected("no connection attempt has finished yet")
        """Why the last attempt failed or the last connection ended."""

    def wait(self, fail_after_failures: int | None) -> Deferred[None]:
        """Return a Deferred that fires at the next login; see ChatClient.when_online."""

        def discard(_: Deferred[None]) -> None:
            self._waiting.pop(waiting, None)

        waiting: Deferred[None] = Deferred(discard)
        self._waiting[waiting] = fail_after_failures
        return waiting

    def login_failed(self, refusal: ChatError) -> None:
        """Record that the server refused the login. The connection ends next."""
        self._refusal = refusal

    def connection_ended(self, reason: NotConnected) -> None:
        """Record that the connection ended or could not be established."""
        self.reason = self._refusal or reason
        self._refusal = None

    def attempt_failed(self) -> None:
        """Count one failed attempt and fail the callers that have reached their limit."""
        for waiting, remaining in list(self._waiting.items()):
            if waiting.called:
                # A callback of an earlier caller has canceled it.
                continue
            if remaining is not None and remaining <= 1:
                del self._waiting[waiting]
                waiting.errback(self.reason)
            elif remaining is not None:
                self._waiting[waiting] = remaining - 1

    def logged_in(self) -> None:
        """Fire the Deferreds of all waiting callers."""
        waiting, self._waiting = self._waiting, {}
        for deferred in waiting:
            if not deferred.called:
                deferred.callback(None)

    def fail_all(self, error: Callable[[], Exception]) -> list[PendingFailure]:
        """Remove all waiting callers and return them with their errors."""
        waiting, self._waiting = self._waiting, {}
        return [(deferred, error()) for deferred in waiting]
