"""One server, several connections, no sockets: what docs/protocol.md says of version 1."""

from __future__ import annotations

import struct

import pytest
from twisted.internet.defer import Deferred

from chat_protocol.domain.limits import Limits
from tests.server.line import (
    ALREADY,
    ERROR,
    NOT_FOUND,
    OK,
    Message,
    Response,
    Server,
    frame,
    login,
    message,
    response,
)


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


def test_names_are_normalized_on_entry(server: Server) -> None:
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
    count = server.limits.tests_before_login
    assert peer.send(*(frame(0x0009, struct.pack(">I", n)) for n in range(count))) == []
    assert peer.send(login("alice")) == [Response(1, OK)]
    server.clock.advance(4)
    server.turn()
    answers = peer.received()
    assert sorted(answers) == [Response(n, OK) for n in range(count)]
    assert answers != sorted(answers)


def test_too_many_correlation_id_tests_are_refused(server: Server) -> None:
    peer = server.logged_in("alice")
    limit = server.limits.correlation_tests
    sent = (frame(0x0009, struct.pack(">I", n)) for n in range(limit + 2))
    assert peer.send(*sent) == [Response(limit, ERROR), Response(limit + 1, ERROR)]
    assert server.factory.counters.limits == {"correlation_tests": 2}


def test_only_correlation_id_tests_count_as_such() -> None:
    server = Server(limits=Limits(correlation_tests=1))
    peer = server.logged_in("alice")
    other: Deferred[None] = Deferred()
    peer.protocol.waits_for(other)
    for _ in range(2):
        assert peer.send(frame(0x0009, b"\0\0\0\x07")) == []
        assert peer.send(frame(0x0009, b"\0\0\0\x08")) == [Response(8, ERROR)]
        server.clock.advance(4)
        server.turn()
        assert peer.received() == [Response(7, OK)]
    peer.protocol.waits_no_more(other)
    peer.lose()
