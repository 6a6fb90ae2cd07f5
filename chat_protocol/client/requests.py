"""Requests that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chat_protocol.errors import NotConnected, RequestTimeout

__all__ = ["DEFAULT_TIMEOUT", "Requests"]

DEFAULT_TIMEOUT = 10.0
"""Seconds that a request waits for its answer."""

_HIGHEST_ID = 0xFFFF_FFFF


class Requests:
    """The correlation ids in use on one connection, each with the Deferred of its answer.

    A request leaves the table when it is answered, when its time is over, when the application
    cancels its Deferred, or with the connection; an answer that comes later is for nobody.

    Args:
        clock: measures the time-outs.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[int, Deferred[Any]] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def next_id(self) -> int:
        """A correlation id that no waiting request has.

        Ids run from 1 to 2^32 - 1 and start over; 0 is what deliveries carry.
        """
        while True:
            self._last_id = self._last_id % _HIGHEST_ID + 1
            if self._last_id not in self._waiting:
                return self._last_id

    def wait(self, correlation_id: int, timeout: float | None) -> Deferred[Any]:
        """The Deferred of an answer.

        Args:
            correlation_id: of the request.
            timeout: seconds that it waits; None: as long as the connection lasts.

        Fires with the command that answers; fails with RequestTimeout when the time is over and
        with NotConnected when the connection is.
        """

        def forget(_: Deferred[Any]) -> None:
            self._waiting.pop(correlation_id, None)

        answer: Deferred[Any] = Deferred(forget)
        self._waiting[correlation_id] = answer
        if timeout is not None:
            answer.addTimeout(timeout, self._clock, _time_is_over)
        return answer

    def answer(self, correlation_id: int, command: Any) -> bool:
        """Hand an answer to its request; False if none waits under that id."""
        waiting = self._waiting.pop(correlation_id, None)
        if waiting is None:
            return False
        waiting.callback(command)
        return True

    def fail(self, error: Callable[[], NotConnected]) -> None:
        """Let every request fail, in the order of sending, each with an error of its own."""
        waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            # The failure of one may have had another one cancelled.
            if not request.called:
                request.errback(error())


def _time_is_over(_: object, timeout: float) -> NoReturn:
    raise RequestTimeout(f"the server did not answer within {timeout:g} seconds")
