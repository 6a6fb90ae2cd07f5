"""The exchange and a store that refuses."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from chat_protocol.domain.batch import Batch, Page
from chat_protocol.domain.exchange import Exchange
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.outage import REMIND_SECONDS
from chat_protocol.domain.stored import Stored, Waiting
from chat_protocol.domain.turn import Turn
from chat_protocol.errors import Unavailable
from chat_protocol.stores.memory.store import MemoryStore


class FullStore(MemoryStore):
    """Refuses a batch while it is full."""

    full = False

    def commit(self, batch: Batch) -> Deferred[None]:
        return fail(Unavailable("full")) if self.full else super().commit(batch)


def test_what_is_given_back_waits_for_a_store_that_takes_it() -> None:
    """Not a message of it may be lost, nor its order, however often the store refuses."""
    clock, store = Clock(), FullStore()
    exchange = Exchange(store, Turn(clock), Limits(), clock, list)
    exchange.logins.register("bob", 1)
    clock.advance(0)
    store.full = True
    for offset in (7, 8):
        exchange.give_back([Waiting(1, Stored(offset, "alice", 5, b"%d" % offset, 0, ("bob",)))])
        clock.advance(0)
        clock.advance(1)
    store.full = False
    clock.advance(1)
    page = Page(1, 0, 10, 1000)
    store.read([page])
    assert [message.text for message in page.messages] == [b"7", b"8"]
    assert clock.getDelayedCalls() == []


def test_a_store_that_refuses_for_long_is_said_now_and_then() -> None:
    clock, store = Clock(), FullStore()
    exchange = Exchange(store, Turn(clock), Limits(), clock, list)
    exchange.logins.register("bob", 1)
    clock.advance(0)
    with capturedLogs() as events:
        store.full = True
        exchange.give_back([Waiting(1, Stored(7, "alice", 5, b"7", 0, ("bob",)))])
        for _ in range(int(REMIND_SECONDS * 1.5)):
            clock.advance(1)
        store.full = False
        for _ in range(3):
            clock.advance(1)
    assert [formatEvent(event) for event in events] == [
        "The store refuses: full",
        "The store refuses: full",
        "The store takes messages again, after 90 seconds",
    ]
