"""The exchange and a store that refuses."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from chat_protocol.domain.batch import Batch, Page, Stored, Waiting
from chat_protocol.domain.exchange import Exchange
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.turn import Turn
from chat_protocol.errors import Unavailable
from chat_protocol.stores.memory import MemoryStore


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
