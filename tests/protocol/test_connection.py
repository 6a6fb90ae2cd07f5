"""One server, several connections, no sockets: what docs/protocol.md says of version 1."""

from __future__ import annotations

import gc
import struct
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from chat_protocol.domain.limits import Limits
from chat_protocol.errors import Unavailable
from chat_protocol.protocol.connection import ChatProtocol, State
from chat_protocol.protocol.tarpit import TurnedAway
from chat_protocol.wire.commands import CorrelationIdTest

from .line import Message, Response, Server, frame, login, message, response

OK, ERROR, NOT_FOUND, ALREADY = 1, 2, 3, 4


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    for connection in list(made.factory.connections):
        connection.connectionLost()
    made.turn()
    assert made.clock.getDelayedCalls() == []


def test_login_and_its_answer_in_bytes(server: Server) -> None:
    peer = server.connect()
    peer.protocol.dataReceived(bytes.fromhex("0000000E01000100000001 0005 7573657231"))
    server.turn()
    assert peer.transport.value() == bytes.fromhex("0000000901000300000001 0001")


def test_a_message_arrives_with_the_senders_own_name(server: Server) -> None:
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    assert alice.send(message("hi", "mallory", "bob", 9, 2**64 - 1)) == [Response(9, OK)]
    assert bob.received() == [Message("hi", "alice", "bob", 2**64 - 1)]


def test_the_fast_path_and_the_other_deliver_the_same(server: Server) -> None:
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    for correlation_id in range(3):
        sent = message("hällo", "alice", "bob", correlation_id)
        assert alice.send(sent) == [Response(correlation_id, OK)]
        assert bob.received() == [Message("hällo", "alice", "bob", 5)]
    assert alice.protocol.session is not None
    assert alice.protocol.session.routes


def test_messages_to_several_in_one_segment(server: Server) -> None:
    alice, bob, carol = map(server.logged_in, ("alice", "bob", "carol"))
    names = ["bob", "carol", "bob", "nobody", "bob", "carol"] * 20
    sent = [message(str(n), "alice", name, n) for n, name in enumerate(names)]
    answers = alice.send(*sent)
    assert {(one.correlation_id, one.code) for one in answers if isinstance(one, Response)} == {
        (n, NOT_FOUND if name == "nobody" else OK) for n, name in enumerate(names)
    }
    for peer, name in ((bob, "bob"), (carol, "carol")):
        expected = [str(n) for n, one in enumerate(names) if one == name]
        assert [one.text for one in peer.received() if isinstance(one, Message)] == expected


def test_names_are_normalised_on_entry(server: Server) -> None:
    server.logged_in("e\u0301")
    assert server.connect().send(login("\u00e9")) == [Response(1, ALREADY)]
    alice = server.logged_in("alice")
    assert alice.send(message("hi", "alice", "e\u0301")) == [Response(2, OK)]


@pytest.mark.parametrize("name", ["", "x" * 256, " a", "a ", "a\x00", "\u202ea"])
def test_an_invalid_name_is_refused_and_the_connection_goes_on(server: Server, name: str) -> None:
    peer = server.connect()
    assert peer.send(login(name)) == [Response(1, NOT_FOUND)]
    assert peer.send(login("alice")) == [Response(1, OK)]


def test_one_session_a_user_and_one_user_a_connection(server: Server) -> None:
    alice = server.logged_in("alice")
    other = server.connect()
    assert other.send(login("alice", 7)) == [Response(7, ALREADY)]
    assert alice.send(login("bob", 8), login("alice", 9)) == [
        Response(8, ALREADY),
        Response(9, ALREADY),
    ]
    assert other.send(login("bob")) == [Response(1, OK)]
    assert alice.send(message("hi", "alice", "bob")) == [Response(2, OK)]


def test_two_logins_of_one_name_in_one_turn(server: Server) -> None:
    first, second = server.connect(), server.connect()
    first.protocol.dataReceived(login("alice"))
    second.protocol.dataReceived(login("alice"))
    server.turn()
    assert first.received() == [Response(1, OK)]
    assert second.received() == [Response(1, ALREADY)]


def test_the_name_is_free_when_the_connection_is_gone(server: Server) -> None:
    server.logged_in("alice").lose()
    assert server.connect().send(login("alice")) == [Response(1, OK)]


def test_what_waits_comes_behind_the_answer_to_the_login_and_once(server: Server) -> None:
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bob.lose()
    sent = [message(str(n), "alice", "bob", n) for n in range(3)]
    assert alice.send(*sent) == [Response(n, OK) for n in range(3)]
    bob = server.connect()
    expected = [Message(str(n), "alice", "bob", 5) for n in range(3)]
    assert bob.send(login("bob")) == [Response(1, OK), *expected]
    alice.send(message("live", "alice", "bob"))
    assert bob.received() == [Message("live", "alice", "bob", 5)]
    bob.lose()
    assert server.connect().send(login("bob")) == [Response(1, OK)]


def test_a_message_and_the_login_it_follows_in_one_segment(server: Server) -> None:
    server.logged_in("bob")
    peer = server.connect()
    assert peer.send(login("alice"), message("hi", "alice", "bob"), login("x", 5)) == [
        Response(1, OK),
        Response(5, ALREADY),
        Response(2, OK),
    ]


def test_what_needs_a_login_is_refused_without(server: Server) -> None:
    peer = server.connect()
    assert peer.send(message("hi", "alice", "bob")) == [Response(2, NOT_FOUND)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(0x0004, b"\0\0\0\x07"), ERROR),
        (frame(0x0102, b"\0\0\0\x07" + bytes(50)), ERROR),
        (frame(0x0009, b"\0\0\0\x07", version=0), ERROR),
        (frame(0x0001, b"\0\0\0\x07"), ERROR),
        (frame(0x0001, b"\0\0\0\x07\0\2a"), ERROR),
        (frame(0x0001, b"\0\0\0\x07\0\2\xff\xff"), ERROR),
    ],
)
def test_a_bad_frame_is_answered_and_the_connection_goes_on(
    server: Server, data: bytes, code: int
) -> None:
    peer = server.connect()
    assert peer.send(data) == [Response(7, code)]
    assert peer.send(login("alice")) == [Response(1, OK)]


@pytest.mark.parametrize("field", [0, 1, 2])
def test_bad_utf8_in_a_message(server: Server, field: int) -> None:
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    alice.send(message("known route", "alice", "bob"))
    bob.received()
    strings: list[bytes] = [b"hi", b"alice", b"bob"]
    strings[field] = b"b\xffb"
    body = b"".join(struct.pack(">H", len(one)) + one for one in strings)
    sent = frame(0x0002, struct.pack(">I", 3) + body + bytes(8))
    assert alice.send(sent) == [Response(3, ERROR)]
    assert bob.received() == []


def test_responses_and_what_is_behind_the_fields_are_ignored(server: Server) -> None:
    peer = server.connect()
    assert peer.send(response(1, 3)) == []
    assert peer.send(frame(0x0001, login("alice")[7:] + b"properties")) == [Response(1, OK)]


@pytest.mark.parametrize("length", [0, 1, 6, 66 * 1024 + 1, 2**31, 2**32 - 1])
def test_a_length_out_of_bounds_ends_the_connection(server: Server, length: int) -> None:
    peer = server.connect()
    sent = frame(0x0004, b"\0\0\0\x07") + struct.pack(">I", length) + bytes(20)
    assert peer.send(sent, login("alice")) == [Response(7, ERROR)]
    assert peer.transport.disconnecting
    assert peer.send(login("alice")) == []


def test_a_session_may_send_longer_frames(server: Server) -> None:
    alice = server.logged_in("alice")
    server.logged_in("bob")
    body = message("x" * 65_535, "y" * 65_535, "bob")[7:] + bytes(100_000)
    assert alice.send(frame(0x0002, body)) == [Response(2, OK)]
    assert not alice.transport.disconnecting
    assert alice.send(struct.pack(">I", 256 * 1024 + 1)) == []
    assert alice.transport.disconnecting


def test_a_correlation_id_test_holds_nobody_up(server: Server) -> None:
    peer = server.connect()
    assert peer.send(*(frame(0x0009, struct.pack(">I", n)) for n in range(20))) == []
    assert peer.send(login("alice")) == [Response(1, OK)]
    server.clock.advance(4)
    server.turn()
    answers = peer.received()
    assert sorted(answers) == [Response(n, OK) for n in range(20)]
    assert answers != sorted(answers)


def test_too_many_correlation_id_tests_are_refused(server: Server) -> None:
    peer = server.connect()
    limit = server.limits.correlation_tests
    sent = (frame(0x0009, struct.pack(">I", n)) for n in range(limit + 2))
    assert peer.send(*sent) == [Response(limit, ERROR), Response(limit + 1, ERROR)]
    assert server.factory.counters.limits == {"correlation_tests": 2}


def test_only_correlation_id_tests_count_as_such() -> None:
    server = Server(limits=Limits(correlation_tests=1))
    peer = server.connect()
    other: Deferred[None] = Deferred()
    peer.protocol.unanswered.add(other)
    for _ in range(2):
        assert peer.send(frame(0x0009, b"\0\0\0\x07")) == []
        assert peer.send(frame(0x0009, b"\0\0\0\x08")) == [Response(8, ERROR)]
        server.clock.advance(4)
        server.turn()
        assert peer.received() == [Response(7, OK)]
    peer.protocol.unanswered.discard(other)
    peer.lose()


def test_one_write_a_turn(server: Server) -> None:
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    alice.writes.clear()
    bob.writes.clear()
    alice.send(*(message(str(n), "alice", "bob", n) for n in range(100)), login("x"))
    assert len(alice.writes) == 1
    assert len(bob.writes) == 1


def test_who_sends_and_receives_in_one_turn_is_written_to_once_in_it() -> None:
    server = Server()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    for peer, other in ((alice, "bob"), (bob, "alice")):
        peer.writes.clear()
        peer.protocol.dataReceived(message("hi", "x", other))
    server.one_turn()
    assert (len(alice.writes), len(bob.writes)) == (1, 1)
    server.one_turn()
    assert (len(alice.writes), len(bob.writes)) == (2, 2)
    for peer, other in ((alice, "bob"), (bob, "alice")):
        me = "alice" if other == "bob" else "bob"
        assert peer.received() == [Message("hi", other, me, 5), Response(2, OK)]
        peer.lose()


def test_one_turn_is_all_that_a_message_takes(server: Server) -> None:
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    alice.protocol.dataReceived(message("hi", "alice", "bob"))
    server.one_turn()
    assert bob.received() == [Message("hi", "alice", "bob", 5)]
    assert alice.received() == [Response(2, OK)]
    assert server.clock.getDelayedCalls() == []


def test_delivery_is_written_before_the_ok(server: Server) -> None:
    """A server that dies between the two has told nobody OK."""
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    order: list[str] = []
    for name, peer in (("alice", alice), ("bob", bob)):
        peer.transport.write = partial(_note, order, name)  # type: ignore[method-assign]
    alice.send(message("hi", "alice", "bob"))
    assert order == ["bob", "alice"]


def _note(order: list[str], name: str, data: bytes) -> None:
    order.append(name)


def test_a_mailbox_has_a_limit() -> None:
    server = Server(limits=Limits(mailbox=3))
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bob.lose()
    answers = alice.send(*(message(str(n), "alice", "bob", n) for n in range(5)))
    assert sorted(answers) == [Response(n, OK if n < 3 else ERROR) for n in range(5)]
    bob = server.connect()
    assert len(bob.send(login("bob"))) == 4
    assert alice.send(message("again", "alice", "bob")) == [Response(2, OK)]
    alice.lose()
    bob.lose()


class SlowStore(Server):
    """A server whose store answers when the test says so."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits=limits)
        self.pending: list[tuple[Deferred[None], Any]] = []
        self.hold = False
        commit = self.store.commit

        def later(batch: Any) -> Any:
            if not self.hold:
                return commit(batch)
            waiting: Deferred[None] = Deferred()
            self.pending.append((waiting, batch))
            return waiting.addCallback(lambda _: commit(batch))

        self.store.commit = later  # type: ignore[method-assign]

    def stored(self) -> None:
        self.hold = False
        pending, self.pending = self.pending, []
        for deferred, _ in pending:
            deferred.callback(None)
        self.turn()

    def refuse(self) -> None:
        pending, self.pending = self.pending, []
        for deferred, _ in pending:
            deferred.errback(Failure(Unavailable("full")))
        self.turn()


def test_nothing_is_answered_or_delivered_before_it_is_stored() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    assert alice.send(message("hi", "alice", "bob")) == []
    assert bob.received() == []
    server.stored()
    assert alice.received() == [Response(2, OK)]
    assert bob.received() == [Message("hi", "alice", "bob", 5)]
    alice.lose()
    bob.lose()


def test_what_the_store_refuses_is_refused_and_not_delivered() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    alice.send(message("hi", "alice", "bob"))
    server.refuse()
    assert alice.received() == [Response(2, ERROR)]
    assert bob.received() == []
    server.hold = False
    assert alice.send(message("again", "alice", "bob")) == [Response(2, OK)]
    assert bob.received() == [Message("again", "alice", "bob", 5)]
    for peer in (alice, bob):
        peer.lose()
    server.clock.advance(1)
    server.turn()
    assert server.clock.getDelayedCalls() == []


def test_while_the_store_refuses_known_users_read_and_new_ones_wait() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bob.lose()
    alice.send(message("hi", "alice", "bob"))
    server.hold = True
    bob, carol = server.connect(), server.connect()
    bob.protocol.dataReceived(login("bob"))
    carol.protocol.dataReceived(login("carol"))
    server.turn()
    server.refuse()
    assert carol.received() == [Response(1, ERROR)]
    assert bob.received() == [Response(1, OK), Message("hi", "alice", "bob", 5)]
    server.refuse()
    server.hold = False
    server.clock.advance(2)
    server.turn()
    for peer in (alice, bob, carol):
        peer.lose()
    assert server.connect().send(login("bob")) == [Response(1, OK)]


def test_a_receiver_lost_while_its_message_is_stored_gets_it_later() -> None:
    """Stored as delivered, then the connection went: OK only when it is in the mailbox."""
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    alice.send(message("hi", "alice", "bob"))
    bob.lose()
    pending, server.pending = server.pending, []
    pending[0][0].callback(None)
    server.turn()
    assert alice.received() == []
    server.stored()
    assert alice.received() == [Response(2, OK)]
    bob = server.connect()
    assert bob.send(login("bob")) == [Response(1, OK), Message("hi", "alice", "bob", 5)]
    alice.lose()
    bob.lose()


def test_what_a_connection_does_not_take_is_in_the_mailbox_before_the_ok() -> None:
    """A server killed after the OK must find it there."""
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bobs: Any = bob.protocol.output
    bobs.pauseProducing()
    server.hold = True
    alice.send(*(message(str(n), "alice", "bob", n) for n in range(4)))
    ((deferred, _),) = server.pending
    server.pending.clear()
    deferred.callback(None)
    server.turn()
    assert alice.received() == []
    assert [one.message.text for one in server.pending[0][1].returned] == [b"0", b"1", b"2", b"3"]
    server.stored()
    assert alice.received() == [Response(n, OK) for n in range(4)]
    assert len(bob.received()) == 4
    bobs.resumeProducing()
    server.turn()
    bob.lose()
    bob = server.connect()
    assert bob.send(login("bob")) == [Response(1, OK)]
    alice.lose()
    bob.lose()


def test_what_is_to_go_back_to_a_mailbox_comes_before_what_is_there() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bobs: Any = bob.protocol.output
    bobs.pauseProducing()
    server.hold = True
    alice.send(message("first", "alice", "bob", 1))
    server.pending.pop()[0].callback(None)
    server.turn()
    server.refuse()
    bob.received()
    bob.lose()
    server.refuse()
    server.hold = False
    alice.send(message("second", "alice", "bob", 2))
    bob = server.connect()
    bob.protocol.dataReceived(login("bob"))
    for _ in range(4):
        server.turn()
        server.clock.advance(1)
    server.turn()
    answer, *rest = bob.received()
    assert answer == Response(1, OK)
    assert [one.text for one in rest if isinstance(one, Message)] == ["first", "second"]
    alice.lose()
    bob.lose()


def test_a_sender_faster_than_the_store_is_not_read() -> None:
    server = SlowStore(Limits(session_backlog=1000))
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    alice.send(*(message("x" * 100, "alice", "bob", n) for n in range(5)))
    assert alice.reading
    alice.send(*(message("x" * 100, "alice", "bob", n) for n in range(5, 10)))
    assert not alice.reading
    assert bob.reading
    server.stored()
    assert alice.reading
    answers = [one for one in alice.received() if isinstance(one, Response)]
    assert [one.correlation_id for one in answers] == list(range(10))
    alice.lose()
    bob.lose()


def test_all_senders_together_are_bounded() -> None:
    server = SlowStore(Limits(store_backlog=1000))
    peers = [server.logged_in(name) for name in ("alice", "bob", "carol")]
    server.hold = True
    for peer in peers:
        peer.send(*(message("x" * 100, "x", "bob", n) for n in range(5)))
    assert [peer.reading for peer in peers] == [True, False, False]
    server.stored()
    assert all(peer.reading for peer in peers)
    for peer in peers:
        peer.lose()


def test_who_leaves_answers_untaken_is_not_read() -> None:
    server = Server(limits=Limits(answer_buffer=1000))
    peer = server.logged_in("alice")
    peer.protocol.output.pauseProducing()  # type: ignore[attr-defined]
    for _ in range(3):
        peer.send(*(frame(0x0004, struct.pack(">I", n)) for n in range(100)))
    assert not peer.reading
    assert server.factory.counters.limits == {"answer_buffer": 1}
    peer.protocol.output.resumeProducing()  # type: ignore[attr-defined]
    assert peer.reading
    peer.lose()


def test_a_receiver_that_does_not_read_is_held_and_catches_up() -> None:
    server = Server(limits=Limits(send_buffer=1000, page_messages=10))
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bob.protocol.output.pauseProducing()  # type: ignore[attr-defined]
    for n in range(100):
        assert alice.send(message(f"{n:03}", "alice", "bob", n)) == [Response(n, OK)]
    early = bob.received()
    assert 0 < len(early) < 40
    assert len(server.factory.directory.online) == 2
    bob.protocol.output.resumeProducing()  # type: ignore[attr-defined]
    server.turn()
    server.turn()
    alice.send(message("last", "alice", "bob"))
    texts = [one.text for one in (*early, *bob.received()) if isinstance(one, Message)]
    assert texts == [f"{n:03}" for n in range(100)] + ["last"]
    alice.lose()
    bob.lose()
    assert server.connect().send(login("bob")) == [Response(1, OK)]


def test_connections_are_limited() -> None:
    server = Server(limits=Limits(connections=2))
    first, _ = server.connect(), server.connect()
    assert isinstance(server.factory.buildProtocol(None), TurnedAway)
    assert server.factory.counters.limits == {"connections": 1}
    first.lose()
    server.connect()


def test_connections_are_limited_by_address() -> None:
    server = Server(limits=Limits(connections_per_address=1))
    first = server.connect()
    address = first.transport.getPeer()
    assert isinstance(server.factory.buildProtocol(address), TurnedAway)
    assert server.factory.counters.limits == {"connections_per_address": 1}
    assert isinstance(server.factory.buildProtocol(None), ChatProtocol)
    first.lose()
    assert isinstance(server.factory.buildProtocol(address), ChatProtocol)


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
    assert alice.protocol.state is State.ENDING
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
            protocol = server.factory.buildProtocol(None)
            assert isinstance(protocol, ChatProtocol)
            protocol.makeConnection(StringTransport())
            protocol.dataReceived(login("alice"))
            server.turn()
            protocol.dataReceived(message("to myself", "alice", "alice"))
            server.turn()
            assert protocol.session is not None
            left: list[weakref.ref[Any]] = [
                weakref.ref(protocol),
                weakref.ref(protocol.session.user),
            ]
            protocol.connectionLost()
            server.turn()
            del protocol
            assert [one() for one in left] == [None, None], again
    finally:
        gc.enable()
