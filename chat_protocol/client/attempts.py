"""Attempts to get on-line: who waits for one to succeed, and why the last one failed."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.client.waiters import Ending
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

__all__ = ["Attempts", "WatchedEndpoint", "ended", "is_final"]

_FINAL = (AuthenticationFailed, InvalidUsername, Malformed, UnknownCommand, UserNotFound)
"""Refusals of a login that the same login would meet again."""


def is_final(refusal: ChatError, had_session: bool) -> bool:
    """Whether it is of no use to try the login again.

    Args:
        refusal: what the server answered.
        had_session: whether the name may be in use by a session of this client's own that the
            server does not know to be dead yet.
    """
    if isinstance(refusal, UserAlreadyLogged):
        return not had_session
    return isinstance(refusal, _FINAL)


def ended(reason: ChatError | None) -> ChatError:
    """What those are told who wait when the client ends; None: the application has stopped it.

    A new one for each: a raised error remembers where.
    """
    return NotConnected("this client has stopped") if reason is None else copy(reason)


@implementer(IStreamClientEndpoint)
class WatchedEndpoint:
    """An endpoint whose failures are told to somebody as well.

    Args:
        endpoint: what connects.
        failed: called with the error of each attempt, of one that was cancelled too.
    """

    def __init__(
        self, endpoint: IStreamClientEndpoint, failed: Callable[[NotConnected], object]
    ) -> None:
        self._endpoint = endpoint
        self._failed = failed

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""

        def failed(failure: Failure) -> Failure:
            error = NotConnected(f"cannot connect: {failure.getErrorMessage()}")
            error.__cause__ = failure.value
            self._failed(error)
            return failure

        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addErrback(failed)

    def __repr__(self) -> str:
        return repr(self._endpoint)


class Attempts:
    """Those who wait for the client to be on-line, each with the failures it puts up with."""

    def __init__(self) -> None:
        self._waiting: dict[Deferred[None], int | None] = {}
        self._refusal: ChatError | None = None
        self.reason: ChatError = NotConnected("there was no attempt yet")
        """Why the last attempt failed, or the last connection ended."""

    def wait(self, fail_after_failures: int | None) -> Deferred[None]:
        """Fires with the next success; see ChatClient.when_online."""

        def forget(_: Deferred[None]) -> None:
            self._waiting.pop(waiting, None)

        waiting: Deferred[None] = Deferred(forget)
        self._waiting[waiting] = fail_after_failures
        return waiting

    def refused(self, refusal: ChatError) -> None:
        """The login failed; the end of its connection follows."""
        self._refusal = refusal

    def ended(self, reason: NotConnected) -> None:
        """The connection ended, or could not be had."""
        self.reason = self._refusal or reason
        self._refusal = None

    def count(self) -> None:
        """One more attempt has failed: whoever has waited for enough of them fails."""
        for waiting, left in list(self._waiting.items()):
            if waiting.called:
                # Cancelled by one that was told before.
                continue
            if left is not None and left <= 1:
                del self._waiting[waiting]
                waiting.errback(self.reason)
            elif left is not None:
                self._waiting[waiting] = left - 1

    def succeeded(self) -> None:
        """On-line: tell them."""
        waiting, self._waiting = self._waiting, {}
        for one in waiting:
            if not one.called:
                one.callback(None)

    def give_up(self, error: Callable[[], ChatError]) -> list[Ending]:
        """There will be no more attempts: all who wait, and what is to be told them."""
        waiting, self._waiting = self._waiting, {}
        return [(one, error()) for one in waiting]
