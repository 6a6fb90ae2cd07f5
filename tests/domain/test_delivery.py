"""The delivery of a mailbox: its states, its position, and what is in flight."""

from __future__ import annotations

from itertools import product

import pytest

from chat_protocol.domain.delivery import NEXT, Delivery, DeliveryState, Event
from chat_protocol.domain.entries import Entry
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.queries import Page
from chat_protocol.wire.codec import decode, encode
from chat_protocol.wire.commands import Deliver, Message

BOB = (7, 0)
"""Whose position it is."""


class Output:
    """An IOutput whose transport takes what the test says."""

    def __init__(self) -> None:
        self.data = b""
        self.taken = self.flushed = 0
        self.backlog = 0

    @property
    def written(self) -> int:
        return len(self.data)

    def write(self, data: bytes) -> None:
        self.data += data

    def deliver(self, data: bytes) -> None:
        self.data += data

    def flush(self, taken: int | None = None) -> None:
        """Have the transport take so many bytes in all; None: everything."""
        self.taken = len(self.data) if taken is None else taken
        self.backlog = len(self.data) - self.taken
        self.flushed = len(self.data)

    def take_what_was_flushed(self) -> None:
        """Have the transport take everything but what is gathered for the next flush."""
        self.taken = self.flushed
        self.backlog = 0

    @property
    def texts(self) -> list[str]:
        found, data = [], self.data
        while data:
            end = 4 + int.from_bytes(data[:4], "big")
            found.append(decode(data[4:end])[1].message)
            data = data[end:]
        return found


class Mailboxes:
    """Notes what a delivery asks for."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.positions: list[int] = []
        self.drains = False

    def read_page(self, delivery: Delivery, page: Page) -> None:
        self.pages.append(page)

    def draining(self, delivery: Delivery) -> None:
        self.drains = True

    def drained(self, delivery: Delivery) -> None:
        self.drains = False

    def move(self, delivery: Delivery) -> None:
        assert delivery.key == BOB
        self.positions.append(delivery.position)


class Line:
    """A delivery to bob, and both its ends."""

    def __init__(self, window: int = 0, limits: Limits | None = None) -> None:
        self.output, self.mailboxes = Output(), Mailboxes()
        limits = limits or Limits()
        self.delivery = Delivery("bob", BOB, self.output, limits, self.mailboxes, window)  # type: ignore[arg-type]
        self.delivery.begin()
        self._version = 2 if window else 1

    def is_(self, state: DeliveryState) -> bool:
        return self.delivery.state is state

    def answer(self, *entries: Entry) -> None:
        """Answer the page that was asked for last."""
        page = self.mailboxes.pages[-1]
        page.clear()
        for entry in entries:
            rest = entry.between(page.after + 1, entry.end)
            if rest.frames and not page.add(rest):
                break
        self.delivery.page_read(page)

    def live(self) -> Line:
        self.answer()
        assert self.is_(DeliveryState.LIVE)
        return self

    def deliver(self, entry: Entry) -> bool:
        data = b"".join(entry.messages_for("bob")) if self._version == 1 else entry.delivers()
        return self.delivery.deliver(entry, data)

    def flush(self, taken: int | None = None) -> None:
        self.output.flush(taken)
        self.delivery.taken()


def entry(offset: int, *texts: str, to: tuple[str, ...] = ("bob",)) -> Entry:
    tail = to[0] if len(to) == 1 else ""
    frames = [encode(Message(text, "alice", tail, 5)) for text in texts]
    return Entry(offset, "alice", "", 0 if to else 1, to, frames)


@pytest.mark.parametrize(("state", "event"), list(product(DeliveryState, Event)))
def test_only_what_is_in_the_table_changes_the_state(state: DeliveryState, event: Event) -> None:
    line = Line()
    line.delivery.state = state
    if (state, event) in NEXT:
        line.delivery._step(event)
        assert line.delivery.state is NEXT[state, event]
    else:
        with pytest.raises(KeyError):
            line.delivery._step(event)


@pytest.mark.parametrize("window", [0, 10])
def test_it_begins_with_the_mailbox_and_goes_on_live(window: int) -> None:
    line = Line(window)
    assert not line.deliver(entry(3, "c"))
    line.answer(entry(1, "a", "b"), entry(3, "c"))
    assert line.is_(DeliveryState.LIVE)
    assert line.deliver(entry(5, "d"))
    assert line.output.texts == ["a", "b", "c", "d"]


def test_an_entry_that_a_page_had_is_not_delivered_again() -> None:
    line = Line()
    line.answer(entry(1, "a"))
    assert not line.deliver(entry(1, "a"))
    assert line.output.texts == ["a"]


def test_version_1_moves_by_what_the_transport_has_taken() -> None:
    line = Line().live()
    sent = entry(4, "one", "two", "three")
    line.deliver(sent)
    sizes = [len(frame) for frame in sent.frames]
    assert line.mailboxes.positions == []
    line.flush(sizes[0] - 1)
    assert line.mailboxes.positions == []
    line.flush(sizes[0])
    line.flush(sum(sizes) - 1)
    line.flush(sum(sizes))
    assert line.mailboxes.positions == [4, 5, 6]


def test_what_is_gathered_for_the_next_flush_is_not_received() -> None:
    line = Line().live()
    line.deliver(entry(4, "one"))
    line.output.flush(3)
    line.output.deliver(b"")
    line.delivery._write(entry(5, "two"), entry(5, "two").frames[0])
    line.output.take_what_was_flushed()
    line.delivery.taken()
    assert line.mailboxes.positions == [4]
    line.flush()
    assert line.mailboxes.positions == [4, 5]


@pytest.mark.parametrize("to", [("bob", "carol"), ()])
def test_frames_of_messages_to_several_are_longer_by_the_name(to: tuple[str, ...]) -> None:
    line = Line().live()
    line.output.write(b"answer")
    sent = entry(4, "one", "two", "three", to=to)
    line.deliver(sent)
    sizes = [len(frame) + 3 for frame in sent.frames]
    for count in range(3):
        line.flush(6 + sum(sizes[: count + 1]) - 1)
        line.flush(6 + sum(sizes[: count + 1]))
        assert line.mailboxes.positions == [4, 5, 6][: count + 1]


def test_answers_between_messages_do_not_move_the_position() -> None:
    line = Line().live()
    line.deliver(entry(4, "one"))
    middle = line.output.written
    line.output.write(b"x" * 100)
    line.deliver(entry(5, "two"))
    line.flush(middle + 100)
    assert line.delivery.position == 4
    line.flush()
    assert line.delivery.position == 5


def test_what_is_taken_after_the_end_of_the_session_counts_as_received() -> None:
    """The peer has closed its sending side and reads on: it must not get that twice."""
    line = Line().live()
    sent = entry(4, "one", "two", "three")
    line.deliver(sent)
    sizes = [len(frame) for frame in sent.frames]
    line.output.flush(sizes[0])
    line.delivery.end()
    assert (line.delivery.closed, line.mailboxes.drains) == (True, True)
    line.flush(sizes[0] + sizes[1])
    assert line.mailboxes.drains
    line.flush()
    assert line.mailboxes.positions == [4, 5, 6]
    assert not line.mailboxes.drains


def test_what_is_not_taken_when_the_connection_is_lost_is_not_received() -> None:
    line = Line().live()
    sent = entry(4, "one", "two", "three")
    line.deliver(sent)
    line.output.flush(len(sent.frames[0]))
    line.delivery.end()
    line.output.flush(len(sent.frames[0]) + len(sent.frames[1]) + 1)
    line.delivery.lost()
    assert line.mailboxes.positions == [4, 5]
    assert not line.mailboxes.drains
    line.flush()
    assert line.mailboxes.positions == [4, 5]


def test_answers_behind_the_last_message_are_not_waited_for() -> None:
    line = Line().live()
    sent = entry(4, "one")
    line.deliver(sent)
    line.output.write(b"x" * 100)
    line.output.flush(1)
    line.delivery.end()
    assert line.mailboxes.drains
    line.flush(len(sent.frames[0]) + 1)
    assert not line.mailboxes.drains


def test_version_2_moves_by_acknowledgements_only() -> None:
    line = Line(window=10).live()
    line.deliver(entry(4, "one", "two", "three"))
    line.flush()
    assert line.mailboxes.positions == []
    assert [line.delivery.acknowledge(offset) for offset in (3, 5, 5, 4)] == [
        False,
        True,
        False,
        False,
    ]
    assert line.mailboxes.positions == [5]
    assert line.delivery.acknowledge(2**64 - 1)
    assert line.mailboxes.positions == [5, 6]
    assert not line.delivery.acknowledge(7)
    line.delivery.end()
    assert line.mailboxes.positions == [5, 6]


def test_version_1_cannot_acknowledge() -> None:
    line = Line().live()
    line.deliver(entry(4, "one"))
    assert not line.delivery.acknowledge(4)
    assert line.mailboxes.positions == []


def test_a_full_window_is_read_on_once_half_of_it_is_acknowledged() -> None:
    line = Line(window=4)
    first = entry(1, *"abcdefgh")
    line.answer(first)
    assert line.output.texts == list("abcd")
    assert line.is_(DeliveryState.PAUSED)
    line.flush()
    line.delivery.acknowledge(1)
    assert line.is_(DeliveryState.PAUSED)
    line.delivery.acknowledge(2)
    assert line.is_(DeliveryState.CATCHING_UP)
    assert (line.mailboxes.pages[-1].after, line.mailboxes.pages[-1].max_messages) == (4, 2)
    line.answer(first)
    assert line.output.texts == list("abcdef")
    line.delivery.acknowledge(6)
    line.answer(first)
    assert line.output.texts == list("abcdefgh")


def test_an_entry_larger_than_the_room_waits_in_the_mailbox() -> None:
    line = Line(window=2).live()
    large = entry(1, *"abc")
    assert not line.deliver(large)
    line.answer(large)
    assert line.output.texts == list("ab")
    line.flush()
    line.delivery.acknowledge(1)
    line.answer(large)
    assert line.output.texts == list("abc")


def test_a_receiver_that_stops_reading_costs_no_more_memory() -> None:
    line = Line().live()
    line.deliver(entry(1, "a"))
    line.output.flush(3)
    for offset in range(2, 100):
        assert not line.deliver(entry(offset, "x"))
    assert line.is_(DeliveryState.PAUSED)
    assert len(line.mailboxes.pages) == 1
    line.flush()
    assert line.is_(DeliveryState.CATCHING_UP)
    assert line.mailboxes.pages[-1].after == 1


def test_what_is_too_much_for_one_turn_waits_in_the_mailbox() -> None:
    line = Line(limits=Limits(send_buffer=100)).live()
    first, second = entry(1, "a" * 60), entry(2, "b" * 60)
    assert line.deliver(first)
    assert not line.deliver(second)
    line.flush()
    line.answer(first, second)
    assert line.output.texts == ["a" * 60, "b" * 60]


@pytest.mark.parametrize("window", [0, 10])
def test_a_notification_has_the_mailbox_read_again(window: int) -> None:
    line = Line(window)
    line.delivery.notified()
    line.answer()
    assert line.is_(DeliveryState.CATCHING_UP)
    line.answer(entry(1, "a"))
    assert line.is_(DeliveryState.LIVE)
    line.delivery.notified()
    line.answer(entry(1, "a"), entry(2, "b"))
    assert line.output.texts == ["a", "b"]


def test_a_page_that_could_not_be_read_is_asked_for_again() -> None:
    line = Line()
    line.delivery.page_failed()
    assert len(line.mailboxes.pages) == 2
    line.answer(entry(1, "a"))
    line.delivery.page_failed()
    assert len(line.mailboxes.pages) == 2


def test_after_the_end_nothing_is_written() -> None:
    line = Line()
    line.delivery.end()
    line.answer(entry(1, "a"))
    assert not line.deliver(entry(2, "b"))
    assert line.output.data == b""


def test_version_2_gets_offsets_and_all_recipients() -> None:
    line = Line(window=10).live()
    line.deliver(entry(4, "one", "two", to=("carol", "bob")))
    first = line.output.data[4 : 4 + int.from_bytes(line.output.data[:4], "big")]
    assert decode(first)[1] == Deliver(4, "one", "alice", 0, ("carol", "bob"), 5)
