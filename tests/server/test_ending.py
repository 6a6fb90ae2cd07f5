"""Connections that are too many, that fail, and that end."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python.failure import Failure

from chat_protocol.domain.exchange import POSITION_SECONDS
from chat_protocol.domain.limits import Limits
from chat_protocol.server.first_bytes import FirstBytes
from chat_protocol.server.rejected import ClosedAtOnce
from chat_protocol.server.state import ConnectionState
from chat_protocol.wire.commands import CorrelationIdTest
from tests.server.line import (
    ERROR,
    NOT_FOUND,
    OK,
    Message,
    Response,
    Server,
    SlowStore,
    frame,
    login,
    message,
    response,
)


def test_connections_are_limited() -> None:
    server = Server(limits=Limits(connections=2))
    first, _ = server.connect(), server.connect()
    assert isinstance(server.factory.buildProtocol(None), ClosedAtOnce)
    assert server.factory.counters.limits == {"connections": 1}
    first.lose()
    server.connect()


def test_connections_are_limited_by_address() -> None:
    server = Server(limits=Limits(connections_per_address=1))
    first = server.connect()
    address = first.transport.getPeer()
    assert isinstance(server.factory.buildProtocol(address), ClosedAtOnce)
    assert server.factory.counters.limits == {"connections_per_address": 1}
    assert isinstance(server.factory.buildProtocol(None), FirstBytes)
    first.lose()
    assert isinstance(server.factory.buildProtocol(address), FirstBytes)


def test_a_fault_in_a_handler_is_an_error_to_the_peer_without_its_text(
    server: Server, logged_failures: list[Failure]
) -> None:
    peer = server.connect()

    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    server.factory.dispatcher._handlers[CorrelationIdTest] = broken
    peer.protocol.dataReceived(frame(0x0009, b"\0\0\0\x07"))
    server.turn()
    assert peer.transport.value() == response(ERROR, 7)
    assert [str(failure.value) for failure in logged_failures] == ["secret"]
    logged_failures.clear()


def test_a_connection_that_goes_while_it_logs_in_leaves_nothing() -> None:
    server = SlowStore()
    server.hold = True
    peer = server.connect()
    peer.protocol.dataReceived(login("alice"))
    server.turn()
    peer.lose()
    server.stored()
    assert server.factory.directory.online == []
    assert server.connect().send(login("alice")) == [Response(1, OK)]


def test_when_the_server_stops_what_was_accepted_is_answered() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    alice.send(message("hi", "alice", "bob"), frame(0x0009, b"\0\0\0\x07"))
    stopped = server.factory.shut_down()
    assert alice.send(message("late", "alice", "bob")) == []
    assert not alice.transport.disconnecting
    server.stored()
    server.clock.advance(4)
    server.turn()
    assert set(alice.received()) == {Response(2, OK), Response(7, OK)}
    assert alice.transport.disconnecting
    alice.lose()
    bob.lose()
    server.turn()
    assert stopped.called
    assert server.clock.getDelayedCalls() == []


def test_a_peer_that_does_not_take_its_answers_is_cut_off_in_time() -> None:
    server = SlowStore()
    alice = server.logged_in("alice")
    server.hold = True
    alice.send(message("hi", "alice", "alice"))
    alice.protocol.close()
    server.clock.advance(server.limits.close_seconds)
    assert alice.transport.disconnected


def test_after_its_last_byte_a_peer_still_gets_its_answers() -> None:
    server = SlowStore()
    alice = server.logged_in("alice")
    server.logged_in("bob")
    server.hold = True
    alice.send(message("hi", "alice", "bob"))
    alice.protocol.readConnectionLost()
    assert alice.protocol.state is ConnectionState.ENDING
    assert [user.name for user in server.factory.directory.online] == ["bob"]
    server.stored()
    assert alice.received() == [Response(2, OK)]
    assert alice.transport.disconnecting


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_however_the_bytes_are_split_the_conversation_is_the_same(data: st.DataObject) -> None:
    server = Server()
    bob = server.logged_in("bob")
    sent = login("alice") + b"".join(
        [message(f"text {n}", "alice", "bob", n) for n in range(6)]
        + [frame(0x0004, b"\0\0\1\0"), message("x", "alice", "nobody", 99)]
    )
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=12).map(sorted))
    alice = server.connect()
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        alice.protocol.dataReceived(sent[start:end])
        if data.draw(st.booleans()):
            server.turn()
    server.turn()
    answers = alice.received()
    assert answers[0] == Response(1, OK)
    assert sorted(answers[1:]) == sorted(
        [Response(n, OK) for n in range(6)] + [Response(256, ERROR), Response(99, NOT_FOUND)]
    )
    assert bob.received() == [Message(f"text {n}", "alice", "bob", 5) for n in range(6)]


def test_what_is_left_of_a_connection_is_no_garbage() -> None:
    """It goes when it ends, and not when the garbage collector comes by."""
    server = Server()
    gc.collect()
    gc.disable()
    try:
        for again in range(2):
            peer = server.connect()
            left: list[weakref.ref[Any]] = [weakref.ref(peer.protocol)]
            peer.send(login("alice"), message("to myself", "alice", "alice"))
            left.append(weakref.ref(peer.protocol))
            left.append(weakref.ref(peer.protocol.session.user))
            peer.lose()
            server.clock.advance(POSITION_SECONDS)
            server.turn()
            # As transports of Twisted do it.
            del peer.transport.protocol
            assert [one() for one in left] == [None] * 3, again
    finally:
        gc.enable()
