"""Messages that arrived: what was seen, what the application has taken, what waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed

from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.client.waiters import Ending, Waiters
from chat_protocol.errors import ChatError

__all__ = ["Inbox"]


class Inbox:
    """A queue in the order of arrival that drops what comes a second time (clause S44).

    It refuses nothing: the window of version 2 bounds it, and the connection stops reading in
    version 1 when ``size`` says so. What waits in it outlives the connection.

    Args:
        offset: up to which everything was taken, by an earlier process.
        automatic: to ask for the next message acknowledges the one before.
        acknowledge: sends an acknowledgement, if there is a connection for it.
    """

    def __init__(self, offset: int, automatic: bool, acknowledge: Callable[[int], None]) -> None:
        self._messages: deque[tuple[ReceivedMessage, int]] = deque()
        self._takers: Waiters[ReceivedMessage] = Waiters()
        self._closed: Callable[[], ChatError] | None = None
        self._automatic = automatic
        self._acknowledge = acknowledge
        self._seen = offset
        self._handed_out = 0
        self.acknowledged = offset
        """The offset up to which the application has taken everything."""
        self.size = 0
        """The sum of what the waiting messages weigh."""
        self.numbered = 0
        """How many of them came with an offset, in version 2."""

    def put(self, message: ReceivedMessage, weight: int) -> None:
        """Give a message to whoever waits for one, or keep it; drop it if it was seen.

        Args:
            message: the next in the order of arrival.
            weight: what it adds to ``size`` while it is kept.
        """
        offset = message.offset
        if offset:
            if offset <= self.acknowledged:
                # The acknowledgement did not arrive.
                self._acknowledge(offset)
                return
            if offset <= self._seen:
                return
            self._seen = offset
        if self._takers:
            self._handing_out(message)
            self._takers.pop().callback(message)
        else:
            self._messages.append((message, weight))
            self.size += weight
            self.numbered += offset > 0

    def take(self) -> Deferred[ReceivedMessage]:
        """The next message; acknowledges the one before if that is automatic.

        Fires at once if there is one, else when it comes; takers are served in their order.
        Fails once the inbox is closed and empty. A cancelled taker takes nothing.
        """
        if self._automatic:
            self.acknowledge(self._handed_out)
        if self._messages:
            message, weight = self._messages.popleft()
            self.size -= weight
            self.numbered -= message.offset > 0
            self._handing_out(message)
            return succeed(message)
        if self._closed is not None:
            return fail(self._closed())
        return self._takers.wait()

    def acknowledge(self, offset: int) -> None:
        """Everything up to the offset is taken for good; one that was before changes nothing.

        What has not been taken is not acknowledged, however great the offset is.
        """
        offset = min(offset, self._handed_out)
        if offset > self.acknowledged:
            self.acknowledged = offset
            self._acknowledge(offset)

    def open(self) -> None:
        """Messages may come (again)."""
        self._closed = None

    def close(self, error: Callable[[], ChatError]) -> list[Ending]:
        """No more will come: who asks from now on fails with ``error()``.

        Returns those who wait, and what is to be told them.
        """
        self._closed = error
        return [(taker, error()) for taker in self._takers.take()]

    def _handing_out(self, message: ReceivedMessage) -> None:
        # Version 1 has no offsets; what it brings does not undo those of version 2.
        self._handed_out = max(self._handed_out, message.offset)
