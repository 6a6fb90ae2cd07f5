"""Queue of received messages: deduplication, acknowledgement and waiting receivers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed

from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.client.waiters import PendingFailure, Waiters

__all__ = ["Inbox"]


class Inbox:
    """Keep received messages in order of arrival and drop duplicates (clause S44).

    The inbox refuses nothing. In version 2 the window bounds its size. In version 1 the connection
    stops reading when ``size`` reaches the limit. Queued messages survive the connection.

    Args:
        offset: offset up to which an earlier process has taken all messages.
        auto_acknowledge: whether asking for the next message acknowledges the previous one.
        acknowledge: sends an acknowledgement if there is a connection.
    """

    def __init__(
        self, offset: int, auto_acknowledge: bool, acknowledge: Callable[[int], None]
    ) -> None:
        self._messages: deque[tuple[ReceivedMessage, int]] = deque()
        self._receivers: Waiters[ReceivedMessage] = Waiters()
        self._closed: Callable[[], Exception] | None = None
        self._takes_no_more = False
        self._auto_acknowledge = auto_acknowledge
        self._acknowledge = acknowledge
        self._highest_seen = offset
        self._highest_taken = 0
        self.acknowledged = offset
        """Offset up to which the application has taken all messages."""
        self.size = 0
        """Total weight of the queued messages."""
        self.numbered_count = 0
        """Number of queued messages that have an offset (version 2)."""

    def put(self, message: ReceivedMessage, weight: int) -> None:
        """Pass a message to the longest-waiting receiver or queue it; drop it if it is a duplicate.

        Args:
            message: the next message in order of arrival.
            weight: added to ``size`` while the message is queued.
        """
        offset = message.offset
        if offset:
            if offset <= self.acknowledged:
                # The server did not get the acknowledgement.
                self._acknowledge(offset)
                return
            if offset <= self._highest_seen or self._takes_no_more:
                return
            self._highest_seen = offset
        if self._receivers:
            self._note_taken(message)
            self._receivers.pop().callback(message)
        else:
            self._messages.append((message, weight))
            self.size += weight
            self.numbered_count += offset > 0

    def take(self) -> Deferred[ReceivedMessage]:
        """Return the next message; acknowledge the previous one if that is automatic.

        The Deferred fires at once if a message is queued, else when one arrives. Receivers are
        served in order. It fails once the inbox is closed and empty. A canceled receiver takes
        nothing.
        """
        self.acknowledge_taken()
        if self._messages:
            message, weight = self._messages.popleft()
            self.size -= weight
            self.numbered_count -= message.offset > 0
            self._note_taken(message)
            return succeed(message)
        if self._closed is not None:
            return fail(self._closed())
        return self._receivers.wait()

    def give_back(self, message: ReceivedMessage, weight: int) -> None:
        """Have :meth:`take` return a message again, before all that have higher offsets.

        It was taken and is not acknowledged. It is acknowledged when it has been taken again.
        """
        if message.offset:
            self._highest_taken = min(self._highest_taken, message.offset - 1)
        if self._receivers:
            self._note_taken(message)
            self._receivers.pop().callback(message)
            return
        # Others may have been given back before it.
        place = sum(0 < other.offset < message.offset for other, _ in self._messages)
        self._messages.insert(place, (message, weight))
        self.size += weight
        self.numbered_count += message.offset > 0

    def take_no_more(self) -> None:
        """Drop what arrives from now on, as far as the server delivers it again: in version 2."""
        self._takes_no_more = True

    def acknowledge_taken(self) -> None:
        """Acknowledge what was taken, if that is automatic."""
        if self._auto_acknowledge:
            self.acknowledge(self._highest_taken)

    def __bool__(self) -> bool:
        """Whether messages wait to be taken."""
        return bool(self._messages)

    def acknowledge(self, offset: int) -> None:
        """Acknowledge all messages up to an offset; do nothing if they are acknowledged already.

        Messages that the application has not taken are never acknowledged, however high the offset
        is.
        """
        offset = min(offset, self._highest_taken)
        if offset > self.acknowledged:
            self.acknowledged = offset
            self._acknowledge(offset)

    def open(self) -> None:
        """Accept messages, for the first time or again."""
        self._closed = None
        self._takes_no_more = False

    def close(self, error: Callable[[], Exception]) -> list[PendingFailure]:
        """Let later calls of :meth:`take` fail with ``error()`` once the queue is empty.

        Returns:
            the waiting receivers with their errors.
        """
        self._closed = error
        return [(receiver, error()) for receiver in self._receivers.pop_all()]

    def _note_taken(self, message: ReceivedMessage) -> None:
        # Version 1 messages have offset 0, which must not lower the highest offset of version 2.
        self._highest_taken = max(self._highest_taken, message.offset)
