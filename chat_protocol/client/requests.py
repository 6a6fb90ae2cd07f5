"""Requests that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chat_protocol.errors import NotConnected, RequestTimeout

__all__ = ["DEFAULT_TIMEOUT", "PendingRequests"]

DEFAULT_TIMEOUT = 10.0
"""Seconds that a request waits for its answer."""

_HIGHEST_ID = 0xFFFF_FFFF


class PendingRequests:
    """Map the correlation ids in use on one connection to the Deferreds of their answers.

    A request is removed when it is answered, times out, is canceled, or when the connection ends. A
    later answer is ignored.

    Args:
        clock: schedules the timeouts.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[int, Deferred[Any]] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def next_id(self) -> int:
        """Return a correlation id that no pending request uses.

        Ids run from 1 to 2^32 - 1 and wrap around. 0 is reserved for deliveries.
        """
        while True:
            self._last_id = self._last_id % _HIGHEST_ID + 1
            if self._last_id not in self._waiting:
                return self._last_id

    def add(self, correlation_id: int, timeout: float | None) -> Deferred[Any]:
        """Register a request and return the Deferred of its answer.

        The Deferred fires with the answering command. It fails with RequestTimeout after the
        timeout and with NotConnected when the connection ends.

        Args:
            correlation_id: of the request.
            timeout: seconds; None: as long as the connection lasts.
        """

        def discard(_: Deferred[Any]) -> None:
            self._waiting.pop(correlation_id, None)

        answer: Deferred[Any] = Deferred(discard)
        self._waiting[correlation_id] = answer
        if timeout is not None:
            answer.addTimeout(timeout, self._clock, _raise_timeout)
        return answer

    def answer(self, correlation_id: int, command: Any) -> bool:
        """Pass an answer to its request; return False if no request has that id."""
        waiting = self._waiting.pop(correlation_id, None)
        if waiting is None:
            return False
        waiting.callback(command)
        return True

    def fail_all(self, error: Callable[[], NotConnected]) -> None:
        """Fail every request, in the order of sending, each with its own error instance."""
        waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            # A callback of an earlier request may have canceled this one.
            if not request.called:
                request.errback(error())


def _raise_timeout(_: object, timeout: float) -> NoReturn:
    raise RequestTimeout(f"the server did not answer within {timeout:g} seconds")
