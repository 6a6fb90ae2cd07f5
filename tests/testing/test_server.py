"""The server in memory, as a test of somebody else's sees it."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionDone

from chat_protocol.domain.limits import Limits
from chat_protocol.testing import MemoryServer
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    CorrelationIdTest,
    Heartbeat,
    Login,
    Login2,
    LoginAnswer,
    Message,
    Publish,
    Response,
    Response2,
    Scope,
)
from tests.testing.user import OK, connecting, delivered, log_in, stored

# What can be seen.


def test_users_and_who_is_on_line(server: MemoryServer) -> None:
    assert server.users == {}
    log_in(server, "bob")
    alice = log_in(server, "alice")
    assert list(server.users.items()) == [("alice", True), ("bob", True)]
    alice.transport.loseConnection()
    server.flush()
    assert server.users == {"alice": False, "bob": True}
    assert isinstance(alice.lost and alice.lost.value, ConnectionDone)
    assert server.connections == 1


def test_received_is_what_was_stored_in_order_and_once(server: MemoryServer) -> None:
    log_in(server, "bob")
    alice = log_in(server, "alice")
    alice.publish("one", "bob", id_=1)
    alice.send(Message("two", "alice", "bob", 5), Message("three", "alice", "bob", 5))
    alice.publish("one again", "bob", id_=1)
    alice.publish("to nobody", "carol", id_=2)
    server.flush()
    assert server.received == [stored(1, "one"), stored(2, "two"), stored(3, "three")]


def test_a_mailbox_has_what_is_not_acknowledged(server: MemoryServer) -> None:
    bob = log_in(server, "bob")
    alice = log_in(server, "alice")
    for text in ("one", "two"):
        alice.publish(text, "bob")
    server.flush()
    assert server.mailbox("bob") == [stored(1, "one"), stored(2, "two")]
    bob.send(Ack(1))
    server.flush()
    assert server.mailbox("bob") == [stored(2, "two")]
    alice.send(Publish(0, "to all", Scope.EVERYONE, (), 5))
    server.flush()
    assert [message.message for message in server.mailbox("bob")] == ["two", "to all"]
    assert server.mailbox("alice") == []
    with pytest.raises(LookupError, match="carol"):
        server.mailbox("carol")


def test_limits_are_those_of_the_server() -> None:
    server = MemoryServer(limits=Limits(mailbox=1, connections=2))
    log_in(server, "bob")
    alice = log_in(server, "alice")
    alice.publish("one", "bob")
    alice.publish("two", "bob")
    server.flush()
    assert [answer.code for answer in alice.take()] == [Code.OK, Code.MAILBOX_FULL]
    third = server.run(connecting(server))
    server.flush()
    assert isinstance(third.lost and third.lost.value, ConnectionDone)


def test_passwords() -> None:
    server = MemoryServer(passwords={"zoë": "sesame"})
    log_in(server, "zoë", password="sesame")
    other = server.run(connecting(server))
    other.send(Login2("zoë", {"password": "wrong"}), Login2("bob"))
    server.flush()
    assert [answer.code for answer in other.take()] == [Code.AUTHENTICATION_FAILED] * 2


# Messages that are refused.


def test_the_next_messages_are_refused_and_no_more(server: MemoryServer) -> None:
    bob = log_in(server, "bob")
    alice = log_in(server, "alice")
    server.refuse_next(Code.MAILBOX_FULL, "too much", count=2)
    for id_ in (1, 2, 3):
        alice.publish(str(id_), "bob", id_=id_)
    server.flush()
    refused = Response2(Code.MAILBOX_FULL, "too much")
    assert alice.take() == [refused, refused, OK]
    assert bob.take() == [delivered(1, "3")]
    alice.publish("again", "bob", id_=4)
    server.flush()
    assert alice.take() == [OK]
    assert bob.take() == [delivered(2, "again")]


def test_of_messages_that_come_together_only_one_is_refused(server: MemoryServer) -> None:
    bob = log_in(server, "bob")
    alice = server.run(connecting(server))
    alice.send(Login("alice"), Message("known", "alice", "bob", 5))
    server.flush()
    server.refuse_next(Code.UNAVAILABLE)
    alice.send(*(Message(text, "alice", "bob", 5) for text in ("1", "2", "3")))
    server.flush()
    assert [answer.code for answer in alice.take()] == [1, 1, 2, 1, 1]
    assert [message.message for message in bob.take()] == ["known", "2", "3"]


def test_what_is_no_refusal_cannot_be_one(server: MemoryServer) -> None:
    for code in (Code.OK, Code.GOING_AWAY):
        with pytest.raises(ValueError, match="is not the code of a refusal"):
            server.refuse_next(code)


def test_a_refusal_waits_for_a_message_that_could_be_stored(server: MemoryServer) -> None:
    alice = server.run(connecting(server))
    server.refuse_next(Code.RATE_LIMITED)
    alice.publish("not logged in", "alice")
    alice.send(Login2("alice"))
    alice.publish("logged in", "alice")
    server.flush()
    codes = [answer.code for answer in alice.take()]
    assert codes == [Code.NOT_LOGGED_IN, Code.OK, Code.RATE_LIMITED]


# An old server.


def test_version_1_takes_no_notice_of_versions_and_unknown_keys() -> None:
    server = MemoryServer(version=1)
    alice = server.run(connecting(server))
    alice.send(Login2("alice", {"window": "10"}), Heartbeat(), CorrelationIdTest())
    alice.publish("unknown", "alice")
    alice.send(Message("hello", "alice", "alice", 5), version=2)
    alice.send(Message("hello", "alice", "bob", 5))
    server.advance(10)
    assert alice.take() == [
        Response(Code.OK),
        Message("hello", "alice", "alice", 5),
        Response(Code.OK),
        Response(Code.USER_NOT_FOUND),
    ]
    server.run(server.stop())
    assert alice.take() == []
    assert alice.lost is not None


def test_version_2_answers_in_version_2(server: MemoryServer) -> None:
    alice = server.run(connecting(server))
    alice.send(Login2("alice"), Heartbeat())
    server.flush()
    answer, heartbeat = alice.take()
    assert isinstance(answer, LoginAnswer)
    assert heartbeat == OK


def test_there_is_no_version_3() -> None:
    with pytest.raises(ValueError, match="3"):
        MemoryServer(version=3)
