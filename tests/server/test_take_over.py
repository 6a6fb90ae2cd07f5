"""Logins that end otherwise than they began, and sessions that are taken over."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from chat_protocol.domain.messages import Batch
from chat_protocol.domain.queries import Account, Query
from chat_protocol.errors import Unavailable
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Close, Heartbeat, Login2, Response2
from tests.server.line import login, response
from tests.server.line2 import Peer2, Server2, publish

OK = Response2(Code.OK)


class DyingStore(MemoryStore):
    """Refuses what the test wants it to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = self.reads = self.knows = True

    def commit(self, batch: Batch) -> Deferred[None]:
        return super().commit(batch) if self.writes else fail(Unavailable("dead"))

    def read(self, queries: Any) -> Deferred[None]:
        if not self.reads or not (self.knows or not any(map(_asks_for_an_account, queries))):
            return fail(Unavailable("dead"))
        return super().read(queries)


def _asks_for_an_account(query: Query) -> bool:
    return isinstance(query, Account)


def take_over(server: Server2, token: str) -> tuple[Peer2, list[Any]]:
    peer = server.connect()
    return peer, peer.say(Login2("alice", {"session": token}))


@pytest.mark.parametrize("broken", ["writes and reads", "reads", "knows"])
def test_a_session_survives_a_take_over_that_fails(broken: str) -> None:
    store = DyingStore()
    server = Server2(store)
    alice: Any = server.on("alice")
    bob = server.on("bob")
    for what in broken.split(" and "):
        setattr(store, what, False)
    other, (refused,) = take_over(server, alice.granted["session"])
    assert refused.code == Code.UNAVAILABLE
    store.writes = store.reads = store.knows = True
    server.clock.advance(1)
    assert alice.say(Heartbeat()) == [OK]
    bob.say(publish("hi", "alice"))
    assert [one.message for one in alice.heard()] == ["hi"]
    assert other.say(Heartbeat()) == [OK]
    third, (answer, again) = take_over(server, alice.granted["session"])
    assert (answer.code, again.message) == (Code.OK, "hi")
    assert [type(one) for one in alice.heard()] == [Close]
    for peer in (alice, bob, other, third):
        peer.lose()
    assert server.on("alice").granted["pending"] == "1"  # type: ignore[attr-defined]


class WaitingStore(MemoryStore):
    """Answers when the test says so."""

    waits: list[tuple[Deferred[None], Batch]] | None = None

    def commit(self, batch: Batch) -> Deferred[None]:
        if self.waits is None:
            return super().commit(batch)
        waiting: Deferred[None] = Deferred()
        self.waits.append((waiting, batch))
        return waiting.addCallback(lambda _: super(WaitingStore, self).commit(batch))

    def go_on(self) -> None:
        waits, self.waits = self.waits, None
        for waiting, _ in waits or ():
            waiting.callback(None)


def test_nothing_is_heard_of_a_session_while_it_is_taken_over() -> None:
    """What it published then would not be in the new one's publishing-id."""
    store = WaitingStore()
    server = Server2(store)
    alice: Any = server.on("alice")
    bob = server.on("bob")
    alice.protocol.dataReceived(encode(publish("begun", "bob", id_=1), 1))
    store.waits = []
    token = alice.granted["session"]
    other = server.connect()
    other.protocol.dataReceived(encode(Login2("alice", {"session": token}), 1))
    assert not alice.reading
    alice.protocol.dataReceived(encode(publish("late", "bob", id_=2), 2))
    server.turn()
    store.go_on()
    server.turn()
    (answer,) = other.heard()
    assert (answer.code, answer.properties["publishing-id"]) == (Code.OK, "1")
    closed, answered = alice.heard()
    assert (closed.code, answered) == (Code.REPLACED, OK)
    assert [one.message for one in bob.heard()] == ["begun"]


def test_two_do_not_take_over_one_session() -> None:
    server = Server2()
    alice: Any = server.on("alice")
    both = [server.connect() for _ in range(2)]
    for peer in both:
        token = alice.granted["session"]
        peer.protocol.dataReceived(encode(Login2("alice", {"session": token}), 1))
    server.turn()
    assert [peer.heard()[0].code for peer in both] == [Code.OK, Code.USER_ALREADY_LOGGED]


@pytest.mark.parametrize("taker_goes", [False, True])
def test_a_name_that_is_being_taken_over_is_nobody_elses(taker_goes: bool) -> None:
    store = WaitingStore()
    server = Server2(store)
    alice: Any = server.on("alice")
    store.waits = []
    other, third = server.connect(), server.connect()
    token = alice.granted["session"]
    other.protocol.dataReceived(encode(Login2("alice", {"session": token}), 1))
    server.turn()
    gone, left = (other, alice) if taker_goes else (alice, other)
    gone.lose()
    assert third.send(login("alice")) == [(1, 4)]
    store.go_on()
    server.turn()
    if taker_goes:
        assert left.say(Heartbeat()) == [OK]
    else:
        assert left.heard()[0].code == Code.OK
    left.lose()
    assert third.send(login("alice")) == [(1, 1)]


def test_a_login_that_the_server_ends_is_not_answered_ok() -> None:
    store = WaitingStore()
    server = Server2(store)
    store.waits = []
    old, new = server.connect(), server.connect()
    old.protocol.dataReceived(login("old"))
    new.protocol.dataReceived(encode(Login2("new"), 1))
    server.turn()
    stopped = server.factory.shut_down()
    store.go_on()
    server.turn()
    assert old.transport.value() == response(2, 1)
    (answer,) = new.heard()
    assert (answer.code, answer.properties) == (Code.UNAVAILABLE, {})
    assert server.factory.directory.online == []
    old.lose()
    new.lose()
    server.turn()
    assert stopped.called
