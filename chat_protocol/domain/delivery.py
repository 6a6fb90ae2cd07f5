"""The delivery of one mailbox to one session.

A delivery is a position in a mailbox. Every change of its state is in the table NEXT.

In CATCHING_UP the store has been asked for the next page of the mailbox. In LIVE everything in the
mailbox has been written: new entries are written as they are stored. If other nodes store messages
as well, the mailbox is read again on a notification. In PAUSED the delivery waits for the receiver:
until the transport has taken what was written, or until the client has acknowledged half of its
window. The messages of a receiver that does not read wait in the mailbox, not in memory.
"""

from __future__ import annotations

import sys
from enum import Enum, auto
from typing import Protocol, TypeAlias

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.peer import IOutput
from chat_protocol.domain.queries import Page
from chat_protocol.wire.frames import recipient_of

__all__ = ["Delivery", "DeliveryState", "Mailboxes"]


_NO_FRAMES: list[bytes] = []


class Mailboxes(Protocol):
    """Where deliveries read their mailboxes and keep their positions."""

    def read_page(self, delivery: Delivery, page: Page) -> None:
        """Read a page, then call :meth:`Delivery.page_read`, or :meth:`Delivery.page_failed`."""

    def draining(self, delivery: Delivery) -> None:
        """Read no pages for another delivery with the same key until :meth:`drained`."""

    def drained(self, delivery: Delivery) -> None:
        """Note that a delivery whose session has ended moves no more."""

    def move(self, delivery: Delivery) -> None:
        """Store the position of a delivery, which has moved."""


class DeliveryState(Enum):
    """Where the next messages of a delivery come from."""

    CATCHING_UP = auto()
    PAUSED = auto()
    LIVE = auto()
    CLOSED = auto()


class Event(Enum):
    """What changes the state of a delivery."""

    PAGE = auto()
    LAST_PAGE = auto()
    DRAINED = auto()
    NOTIFIED = auto()
    OVERRUN = auto()
    ENDED = auto()


NEXT = {
    (DeliveryState.CATCHING_UP, Event.PAGE): DeliveryState.PAUSED,
    (DeliveryState.CATCHING_UP, Event.LAST_PAGE): DeliveryState.LIVE,
    (DeliveryState.CATCHING_UP, Event.ENDED): DeliveryState.CLOSED,
    (DeliveryState.PAUSED, Event.DRAINED): DeliveryState.CATCHING_UP,
    (DeliveryState.PAUSED, Event.ENDED): DeliveryState.CLOSED,
    (DeliveryState.LIVE, Event.OVERRUN): DeliveryState.PAUSED,
    (DeliveryState.LIVE, Event.NOTIFIED): DeliveryState.CATCHING_UP,
    (DeliveryState.LIVE, Event.ENDED): DeliveryState.CLOSED,
}


_Mark: TypeAlias = "tuple[int, int, int, list[bytes]]"
"""Messages that were written and not yet taken or acknowledged: the offset of the first one, the
offset behind the last one, the count of bytes written up to their end and, for version 1, their
frames. A plain tuple, because one is made for each write."""


class Delivery:
    """Brings the messages of a mailbox to a session, in the order of their offsets.

    Args:
        username: of the user whose mailbox it is.
        key: user and device of the position.
        output: of the session's connection.
        limits: ``send_buffer``, ``page_messages`` and ``page_bytes`` are used.
        mailboxes: reads pages and stores positions.
        window: messages that may be unacknowledged at a time. 0: the client cannot acknowledge
            (version 1), and the position follows what the transport has taken.
    """

    __slots__ = (
        "_in_flight",
        "_limits",
        "_mailboxes",
        "_marks",
        "_notified",
        "_output",
        "_sent",
        "_username",
        "_window",
        "key",
        "position",
        "state",
    )

    def __init__(
        self,
        username: str,
        key: tuple[int, int],
        output: IOutput,
        limits: Limits,
        mailboxes: Mailboxes,
        window: int = 0,
    ) -> None:
        self._username = username
        self.key = key
        self._output = output
        self._limits = limits
        self._mailboxes = mailboxes
        self._window = window
        self.state = DeliveryState.CATCHING_UP
        self.position = 0
        """Offset up to which the session has received everything; 0: nothing so far."""
        self._sent = 0
        """Offset of the last message written."""
        self._marks: list[_Mark] | None = None
        """In the order of their offsets; None in place of an empty list, which takes memory."""
        self._in_flight = 0
        """Unacknowledged messages, if there is a window."""
        self._notified = False
        """Whether a notification has arrived since the page was requested that is being read."""

    def begin(self) -> None:
        """Request the first page of the mailbox."""
        self._ask_page()

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self.state is DeliveryState.CLOSED

    @property
    def takes_at_once(self) -> bool:
        """Whether an entry that is delivered now is received at once, as far as can be told."""
        return self.state is DeliveryState.LIVE and not self._window and not self._output.backlog

    def deliver(self, entry: Entry, data: bytes) -> bool:
        """Write an entry that was just stored, unless it has to wait in the mailbox.

        Args:
            entry: of this mailbox.
            data: its frames in the version of the session.

        Returns:
            Whether it was written.
        """
        if self.state is not DeliveryState.LIVE or entry.offset <= self._sent:
            return False
        output = self._output
        if (
            output.backlog
            or output.written - output.taken + len(data) > self._limits.send_buffer
            or (self._window and self._window - self._in_flight < len(entry.frames))
        ):
            self._overrun()
            return False
        self._write(entry, data)
        return True

    def pass_over(self, entry: Entry) -> None:
        """Note an entry that was just stored, and that a version 1 session does not get."""
        if self.state is DeliveryState.LIVE:
            self._pass_over(entry)

    def page_read(self, page: Page) -> None:
        """Write the entries of a page that was requested."""
        if self.state is not DeliveryState.CATCHING_UP:
            return
        for entry in page.entries:
            if self._window:
                self._write(entry, entry.delivers())
            elif entry.is_copy_for(self._username):
                self._pass_over(entry)
            else:
                self._write(entry, b"".join(entry.messages_for(self._username)))
        self._step(Event.LAST_PAGE if page.complete else Event.PAGE)
        if self._notified:
            self.notified()

    def page_failed(self) -> None:
        """Request the page again: the store could not be read."""
        if self.state is DeliveryState.CATCHING_UP:
            self._ask_page()

    def notified(self) -> None:
        """Read the mailbox again: there may be new messages in it."""
        self._notified = self.state is DeliveryState.CATCHING_UP
        if self.state is not DeliveryState.LIVE:
            # PAUSED reads on from the mailbox in any case.
            return
        if self._output.backlog or self._room() <= 0:
            self._overrun()
        else:
            self._step(Event.NOTIFIED)
            self._ask_page()

    def taken(self) -> None:
        """Note that the transport has taken bytes that were written."""
        output = self._output
        if self._marks and not self._window:
            # What is gathered for the next flush is written, and not taken.
            if output.taken == output.written:
                self._marks = None
                self.position = self._sent
                self._mailboxes.move(self)
            else:
                self._advance(self._last_taken())
            if self._marks is None and self.state is DeliveryState.CLOSED:
                self._mailboxes.drained(self)
        if self.state is DeliveryState.PAUSED and not output.backlog:
            self._go_on()

    def acknowledge(self, offset: int) -> bool:
        """Note that the client has received everything up to an offset.

        Returns:
            Whether this acknowledges anything new. A message that was not sent cannot be
            acknowledged.
        """
        if not self._window or not self._marks or self._marks[0][0] > offset:
            return False
        self._advance(min(offset, self._sent))
        if self.state is DeliveryState.PAUSED and not self._output.backlog:
            self._go_on()
        return True

    def end(self) -> None:
        """End the delivery: what is not received by now is delivered to the next session.

        Version 1: what the transport still takes before :meth:`lost` counts as received. The next
        session gets nothing until then, so that it gets no message twice.
        """
        if self._window:
            self._marks = None
        elif self._marks:
            self._advance(self._last_taken())
        self._step(Event.ENDED)
        if self._marks:
            self._mailboxes.draining(self)

    def lost(self) -> None:
        """Note that the connection is gone: the transport takes no more."""
        if self._marks:
            self._advance(self._last_taken())
            self._marks = None
            self._mailboxes.drained(self)

    def _pass_over(self, entry: Entry) -> None:
        self._sent = entry.end - 1
        if self._marks is None:
            self.position = self._sent
            self._mailboxes.move(self)

    def _write(self, entry: Entry, data: bytes) -> None:
        output = self._output
        output.deliver(data)
        begin, frames = entry.offset, entry.frames
        end = begin + len(frames)
        self._sent = end - 1
        if self._window:
            self._in_flight += end - begin
            frames = _NO_FRAMES
        mark = (begin, end, output.written, frames)
        if self._marks is None:
            self._marks = [mark]
        else:
            self._marks.append(mark)

    def _last_taken(self) -> int:
        """Return the offset of the last message that the transport has taken; 0: none."""
        taken = self._output.taken
        last = 0
        assert self._marks is not None
        for begin, end, stop, frames in self._marks:
            if stop > taken:
                return self._last_taken_of(begin, stop, frames) or last
            last = end - 1
        return last

    def _last_taken_of(self, begin: int, stop: int, frames: list[bytes]) -> int:
        """Return the same for one mark, of which the transport has not taken everything."""
        missing, last = stop - self._output.taken, begin + len(frames) - 1
        for frame in reversed(frames):
            if missing <= 0:
                break
            # Written frames of messages to several users have the recipient's name added.
            missing -= len(frame) + self._longer(frame)
            last -= 1
        return last if last >= begin else 0

    def _longer(self, frame: bytes) -> int:
        return 0 if recipient_of(frame) else len(self._username.encode())

    def _advance(self, offset: int) -> None:
        """Move the position, and remove the marks up to it."""
        if offset <= self.position:
            return
        marks = self._marks or []
        done = 0
        for begin, end, stop, frames in marks:
            if end - 1 > offset:
                if self._window and begin <= offset:
                    self._in_flight -= offset + 1 - begin
                    marks[done] = (offset + 1, end, stop, frames)
                break
            if self._window:
                self._in_flight -= end - begin
            done += 1
        if done == len(marks):
            self._marks = None
        else:
            del marks[:done]
        self.position = offset
        self._mailboxes.move(self)

    def _room(self) -> int:
        """Return how many more messages may be written and unacknowledged."""
        return self._window - self._in_flight if self._window else sys.maxsize

    def _overrun(self) -> None:
        self._step(Event.OVERRUN)
        if not self._output.backlog:
            self._go_on()

    def _go_on(self) -> None:
        """Read on from PAUSED if the receiver is ready for more."""
        # Not before half of the window is free: else a page is read for each acknowledgment.
        if 2 * self._room() >= self._window:
            self._step(Event.DRAINED)
            self._ask_page()

    def _step(self, event: Event) -> None:
        self.state = NEXT[self.state, event]

    def _ask_page(self) -> None:
        # Behind what was sent: the messages between the position and that are in flight.
        limits = self._limits
        count = min(limits.page_messages, self._room())
        user_id, device_id = self.key
        page = Page(user_id, self._sent, count, limits.page_bytes, device_id)
        self._mailboxes.read_page(self, page)
