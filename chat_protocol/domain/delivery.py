"""The delivery of one user's messages to one session.

Rule 1: everything that changes the state is in the table.

CATCHING UP asks the store for the oldest page of the mailbox; HELD waits until the connection
has taken what was written; LIVE gets messages as they are stored, past the mailbox. A receiver
that stops reading goes from LIVE to HELD when the kernel's send buffer is full, and from then on
costs no more memory: its messages wait in the mailbox.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from chat_protocol.domain.batch import Page, Run, Stored, Waiting
from chat_protocol.domain.directory import User
from chat_protocol.domain.limits import Limits
from chat_protocol.interfaces import IOutput
from chat_protocol.wire.codec import decode
from chat_protocol.wire.scan import encode_delivered, encode_route

__all__ = ["Delivery"]


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
    OVERRUN = auto()
    LOST = auto()


_NEXT = {
    (State.CATCHING_UP, Event.PAGE): State.HELD,
    (State.CATCHING_UP, Event.LAST_PAGE): State.LIVE,
    (State.CATCHING_UP, Event.LOST): State.CLOSED,
    (State.HELD, Event.DRAINED): State.CATCHING_UP,
    (State.HELD, Event.LOST): State.CLOSED,
    (State.LIVE, Event.OVERRUN): State.HELD,
    (State.LIVE, Event.LOST): State.CLOSED,
}


class Delivery:
    """Brings a user's messages to a version 1 session, in order and each once.

    Args:
        user: whose mailbox it is.
        output: of the session's connection.
        limits: ``send_buffer``, ``page_messages`` and ``page_bytes`` are used.
        ask: called with a Page that is wanted; :meth:`page_read` is the answer.
        taken: called with the user and the offset up to which the connection has taken what
            came from the mailbox.
    """

    __slots__ = (
        "_ask",
        "_limits",
        "_marked",
        "_output",
        "_promised",
        "_sent",
        "_state",
        "_taken",
        "_user",
    )

    def __init__(
        self,
        user: User,
        output: IOutput,
        limits: Limits,
        ask: Callable[[Delivery, Page], None],
        taken: Callable[[User, int], None],
    ) -> None:
        self._user = user
        self._output = output
        self._limits = limits
        self._ask = ask
        self._taken = taken
        self._state = State.CATCHING_UP
        self._promised = 0
        """Bytes of messages that are being stored and come here then."""
        self._sent = 0
        """The last offset written that is in the mailbox."""
        self._marked = 0
        """The last of them that was reported as taken."""

    def begin(self) -> None:
        """Start with the mailbox."""
        self._ask_page()

    @property
    def closed(self) -> bool:
        """The connection is gone."""
        return self._state is State.CLOSED

    def admit(self, size: int) -> bool:
        """Whether a run of so many bytes that is about to be stored is to come here directly.

        If so, :meth:`deliver` follows; if not, it belongs into the mailbox.
        """
        if self._state is not State.LIVE:
            return False
        if self._output.backlog or self._promised + size > self._limits.send_buffer:
            self._step(Event.OVERRUN)
            return False
        self._promised += size
        return True

    def deliver(self, run: Run) -> bool:
        """Pass on the accepted messages of an admitted run; False: the connection is gone."""
        self._promised -= run.size
        if self._state is State.CLOSED:
            return False
        if run.accepted:
            self._output.write_messages(run.frames, range(run.offset, run.offset + run.accepted))
        elif not self._output.backlog:
            self._catch_up()
        return True

    def untaken(self, run: Run) -> int:
        """How many of a run's last messages the connection has not taken, once it was flushed.

        They belong into the mailbox before anybody is told OK; they are reported as taken when
        they are.
        """
        if not self._output.backlog or not run.accepted:
            return 0
        waiting = self._output.untaken()
        count = sum(run.offset <= offset < run.offset + run.accepted for offset, _ in waiting)
        if count:
            self._sent = run.offset + run.accepted - 1
        return count

    def page_read(self, page: Page) -> None:
        """The answer to a page that was asked for."""
        if self._state is State.CLOSED:
            return
        if page.messages:
            routes: dict[str, bytes] = {}
            frames = []
            for _, sender, time, text in page.messages:
                route = routes.get(sender)
                if route is None:
                    route = routes[sender] = encode_route(sender, self._user.name)
                frames.append(encode_delivered(text, route, time))
            offsets = [message.offset for message in page.messages]
            self._sent = offsets[-1]
            self._output.write_messages(frames, offsets)
        self._step(Event.LAST_PAGE if page.complete else Event.PAGE)

    def page_failed(self) -> None:
        """The store cannot read now: ask again."""
        if self._state is State.CATCHING_UP:
            self._ask_page()

    def drained(self) -> None:
        """The connection has taken everything that was written."""
        if self._marked != self._sent:
            self._marked = self._sent
            self._taken(self._user, self._sent)
        self._catch_up()

    def lost(self) -> list[Waiting]:
        """The connection is gone; returns what it has not taken."""
        self._step(Event.LOST)
        waiting = []
        for offset, frame in self._output.untaken():
            _, message = decode(frame[4:])
            stored = Stored(offset, message.from_, message.time, message.message.encode())
            waiting.append(Waiting(self._user.id, stored))
        return waiting

    def _catch_up(self) -> None:
        """Back to the mailbox, once everything that was to come directly has been written."""
        if self._state is State.HELD and not self._promised:
            self._step(Event.DRAINED)
            self._ask_page()

    def _step(self, event: Event) -> None:
        self._state = _NEXT[self._state, event]

    def _ask_page(self) -> None:
        # Behind what was sent, not behind what is marked: the mark may not be stored yet.
        limits = self._limits
        self._ask(self, Page(self._user.id, self._sent, limits.page_messages, limits.page_bytes))
