"""The delivery of one user's messages to one session.

Rule 1: everything that changes the state is in the table.

CATCHING UP asks the store for the oldest page of the mailbox; HELD waits until the connection
has taken what was written; LIVE gets messages as they are stored, past the mailbox, or, where
other processes store as well, is rung and reads the mailbox again. A receiver
that stops reading goes from LIVE to HELD when the kernel's send buffer is full, and from then on
costs no more memory: its messages wait in the mailbox.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum, auto
from typing import TypeAlias

from chat_protocol.domain.batch import Page, Publication, Run
from chat_protocol.domain.directory import User
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.stored import Stored, StoredRun, Waiting
from chat_protocol.interfaces import IOutput
from chat_protocol.wire.frames import encode_delivered, encode_route, names_of

__all__ = ["Ask", "Delivery", "PlainDelivery", "State", "Taken"]


Ask: TypeAlias = "Callable[[Delivery, Page], None]"
"""Wants a page read; Delivery.page_read is the answer."""

Taken: TypeAlias = "Callable[[User, int], None]"
"""Says up to which offset a user's mailbox is delivered for good."""


class State(Enum):
    """Where the messages of a user come from."""

    CATCHING_UP = auto()
    HELD = auto()
    LIVE = auto()
    CLOSED = auto()


class Event(Enum):
    """What can happen to a delivery."""

    PAGE = auto()
    LAST_PAGE = auto()
    DRAINED = auto()
    RUNG = auto()
    OVERRUN = auto()
    LOST = auto()


_NEXT = {
    (State.CATCHING_UP, Event.PAGE): State.HELD,
    (State.CATCHING_UP, Event.LAST_PAGE): State.LIVE,
    (State.CATCHING_UP, Event.LOST): State.CLOSED,
    (State.HELD, Event.DRAINED): State.CATCHING_UP,
    (State.HELD, Event.LOST): State.CLOSED,
    (State.LIVE, Event.OVERRUN): State.HELD,
    (State.LIVE, Event.RUNG): State.CATCHING_UP,
    (State.LIVE, Event.LOST): State.CLOSED,
}


class Delivery:
    """Brings a user's messages to a session, in order: what both versions share.

    Args:
        user: whose mailbox it is.
        output: of the session's connection.
        limits: ``send_buffer``, ``page_messages`` and ``page_bytes`` are used.
        ask: see Ask.
        taken: see Taken.
    """

    __slots__ = (
        "_ask",
        "_limits",
        "_output",
        "_promised",
        "_promised_count",
        "_rung",
        "_sent",
        "_taken",
        "_user",
        "state",
    )

    in_mailbox = True
    """Whether what comes here directly has to be in the mailbox as well."""

    def __init__(self, user: User, output: IOutput, limits: Limits, ask: Ask, taken: Taken) -> None:
        self._user = user
        self._output = output
        self._limits = limits
        self._ask = ask
        self._taken = taken
        self.state = State.CATCHING_UP
        self._promised = 0
        """Bytes of messages that are being stored and come here then."""
        self._promised_count = 0
        self._rung = False
        """Something may have come since the page was asked for that is on its way."""
        self._sent = 0
        """The last offset written that is in the mailbox."""

    def begin(self) -> None:
        """Start with the mailbox."""
        self._ask_page()

    @property
    def closed(self) -> bool:
        """The connection is gone."""
        return self.state is State.CLOSED

    def admit(self, size: int, count: int) -> bool:
        """Whether so many messages that are about to be stored are to come here directly.

        If so, :meth:`deliver_run` or :meth:`deliver_publication` follows; if not, they belong
        into the mailbox.
        """
        if self.state is not State.LIVE:
            return False
        if (
            self._output.backlog
            or self._promised + size > self._limits.send_buffer
            or self._room() - self._promised_count < count
        ):
            self._step(Event.OVERRUN)
            if not self._output.backlog:
                self._catch_up()
            return False
        self._promised += size
        self._promised_count += count
        return True

    def deliver_run(self, run: Run) -> bool:
        """Pass on the accepted messages of an admitted run; False: the connection is gone."""
        self._promised -= run.size
        self._promised_count -= len(run.texts)
        if self.state is State.CLOSED:
            return False
        if run.accepted:
            self._write_run(run)
        elif not self._output.backlog:
            self._catch_up()
        return True

    def deliver_publication(self, publication: Publication) -> None:
        """Pass on an admitted publication, where it was stored."""
        self._promised -= publication.size
        self._promised_count -= 1
        if self.state is State.CLOSED:
            return
        if publication.offset:
            self._sent = publication.offset
            self._write_publication(publication)
        elif not self._output.backlog:
            self._catch_up()

    def untaken(self, run: Run) -> int:
        """How many of a run's last messages the connection has not taken, once it was flushed.

        They belong into the mailbox before anybody is told OK.
        """
        return 0

    def page_read(self, page: Page) -> None:
        """The answer to a page that was asked for."""
        if self.state is State.CLOSED:
            return
        for part in page.parts:
            self._sent = part.end - 1
            self._write_part(part)
        self._step(Event.LAST_PAGE if page.complete else Event.PAGE)
        if self._rung:
            self.rung()

    def rung(self) -> None:
        """Something may wait in the mailbox that another process has put there."""
        self._rung = self.state is State.CATCHING_UP
        if self.state is not State.LIVE:
            # What is HELD reads it all when it goes on.
            return
        if self._output.backlog or self._room() <= 0:
            self._step(Event.OVERRUN)
        else:
            self._step(Event.RUNG)
            self._ask_page()

    def page_failed(self) -> None:
        """The store cannot read now: ask again."""
        if self.state is State.CATCHING_UP:
            self._ask_page()

    def drained(self) -> None:
        """The connection has taken everything that was written."""
        self._catch_up()

    def ack(self, offset: int) -> bool:
        """Everything up to the offset has reached the user for good; whether that is news."""
        return False

    def end(self) -> list[Waiting]:
        """The session is over; what was not written never is. Returns what no mailbox has."""
        self._step(Event.LOST)
        withdrawn = self._output.withdraw()
        if withdrawn:
            self._sent = min(self._sent, abs(withdrawn[0][0]) - 1)
        return self._missing(withdrawn)

    def gone(self) -> list[Waiting]:
        """The connection is gone, too; returns what it has not taken and no mailbox has."""
        return self._missing(self._output.untaken())

    def _missing(self, untaken: list[tuple[int, bytes]]) -> list[Waiting]:
        """Those that have to be put into the mailbox."""
        return []

    def _room(self) -> int:
        """How many more messages the session may have on their way."""
        return sys.maxsize

    def _write_run(self, run: Run) -> None:
        raise NotImplementedError

    def _write_part(self, part: Stored | StoredRun) -> None:
        """Write a part of a page."""
        raise NotImplementedError

    def _write_publication(self, publication: Publication) -> None:
        raise NotImplementedError

    def _catch_up(self) -> None:
        """Back to the mailbox, once everything that was to come directly has been written."""
        if self.state is State.HELD and not self._promised_count:
            self._step(Event.DRAINED)
            self._ask_page()

    def _step(self, event: Event) -> None:
        self.state = _NEXT[self.state, event]

    def _ask_page(self) -> None:
        # Behind what was sent, not behind what is marked: the mark may not be stored yet.
        limits = self._limits
        count = min(limits.page_messages, self._room())
        self._ask(self, Page(self._user.id, self._sent, count, limits.page_bytes))


class PlainDelivery(Delivery):
    """For a version 1 session, which cannot say what it has: the send buffer's word counts."""

    __slots__ = ("_marked",)

    in_mailbox = False

    def __init__(self, user: User, output: IOutput, limits: Limits, ask: Ask, taken: Taken) -> None:
        super().__init__(user, output, limits, ask, taken)
        self._marked = 0
        """The last offset that was reported as taken."""

    def untaken(self, run: Run) -> int:
        """See Delivery; they are reported as taken when they are."""
        if not self._output.backlog or not run.accepted:
            return 0
        waiting = self._output.untaken()
        count = sum(run.offset <= offset < run.offset + run.accepted for offset, _ in waiting)
        if count:
            self._sent = max(self._sent, run.offset + run.accepted - 1)
        return count

    def drained(self) -> None:
        """See Delivery."""
        if self._marked < self._sent:
            self._marked = self._sent
            self._taken(self._user, self._sent)
        if self.state is State.HELD:
            self._catch_up()

    def _missing(self, untaken: list[tuple[int, bytes]]) -> list[Waiting]:
        waiting = []
        for offset, frame in untaken:
            if offset < 0:
                continue
            (message,) = StoredRun(offset, *names_of(frame), [frame]).messages()
            waiting.append(Waiting(self._user.id, message))
        return waiting

    def _write_run(self, run: Run) -> None:
        self._output.write_messages(run.frames, range(run.offset, run.offset + run.accepted))

    def _write_part(self, part: Stored | StoredRun) -> None:
        # Below 0: it is in the mailbox as well, and need not be put there.
        offsets = range(-part.offset, -part.end, -1)
        if isinstance(part, StoredRun):
            frames = part.frames
        else:
            frames = [self._frame(part.text, part.sender, part.time)]
        self._output.write_messages(frames, offsets)

    def _frame(self, text: bytes, sender: str, time: int) -> bytes:
        return encode_delivered(text, encode_route(sender, self._user.name), time)

    def _write_publication(self, publication: Publication) -> None:
        frame = self._frame(publication.text, publication.sender.user.name, publication.time)
        self._output.write_messages([frame], [-publication.offset])
