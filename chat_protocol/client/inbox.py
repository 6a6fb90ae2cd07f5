"""Messages that arrived and that the application has not taken yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed

from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.errors import NotConnected

__all__ = ["Inbox"]


class Inbox:
    """A queue in the order of arrival; ``size`` says when to stop filling it.

    The inbox itself refuses nothing: the connection compares ``size`` with its limit and stops
    reading. Messages that are there when the connection ends can still be taken.
    """

    def __init__(self) -> None:
        self._messages: deque[tuple[ReceivedMessage, int]] = deque()
        self._takers: deque[Deferred[ReceivedMessage]] = deque()
        self._closed: Callable[[], NotConnected] | None = None
        self.size = 0
        """The sum of what the waiting messages weigh."""

    def put(self, message: ReceivedMessage, weight: int) -> None:
        """Give a message to whoever waits for one, or keep it.

        Args:
            message: the next in the order of arrival.
            weight: what it adds to ``size`` while it is kept.
        """
        if self._takers:
            self._takers.popleft().callback(message)
        else:
            self._messages.append((message, weight))
            self.size += weight

    def take(self) -> Deferred[ReceivedMessage]:
        """The next message.

        Fires at once if there is one, else when it comes; takers are served in their order.
        Fails with NotConnected once the inbox is closed and empty. A cancelled taker takes
        nothing.
        """
        if self._messages:
            message, weight = self._messages.popleft()
            self.size -= weight
            return succeed(message)
        if self._closed is not None:
            return fail(self._closed())
        taker: Deferred[ReceivedMessage] = Deferred(self._takers.remove)
        self._takers.append(taker)
        return taker

    def close(self, error: Callable[[], NotConnected]) -> None:
        """No more will come: let all who wait, or will, fail with ``error()``."""
        self._closed = error
        takers, self._takers = self._takers, deque()
        for taker in takers:
            taker.errback(error())
