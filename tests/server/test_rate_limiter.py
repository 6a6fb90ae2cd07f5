"""Rates and times of one server: who is refused, who is read more slowly, and what is said."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from chat_protocol.domain.exchange import POSITION_SECONDS
from chat_protocol.domain.rates import Rate
from chat_protocol.server.rejected import REJECTED, REJECTED_SECONDS, ClosedLater
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    Deliver,
    Heartbeat,
    Login2,
    LoginAnswer,
    Publish,
    Response2,
)
from tests.server.fair import FairServer, server
from tests.server.line import Response, login, message
from tests.server.line2 import Peer2

OK = 1


ERROR = 2


# Messages.


@pytest.mark.parametrize("fast", [True, False])
def test_version_1_above_its_rate_is_read_more_slowly(fast: bool, log: list[str]) -> None:
    own = server(message_rate=Rate(10, 20))
    alice = own.connect()
    alice.send(login("alice"))
    # One of another spelling of the sender does not go the short way.
    sender = "alice" if fast else "x"
    sent = 0
    while alice.reading:
        assert sent < 100
        assert Response(sent, OK) in alice.send(message("m", sender, "alice", sent))
        sent += 1
    assert 20 <= sent <= 25
    assert own.met == {"message_rate": 1}
    (line,) = [line for line in log if "(message_rate)" in line]
    assert line == (
        "'alice' at 192.0.2.1:4000: sends more than 10 a second, 20 at once; reading is paused for"
        " a moment (message_rate)"
    )
    for _ in range(20):
        waited = own.until(alice, 1)
        assert 0.05 <= waited <= 0.4
        alice.send(message("m", sender, "alice"))
    alice.lose()
    own.clock.advance(POSITION_SECONDS)
    assert not own.clock.getDelayedCalls()


@pytest.mark.parametrize("fast", [True, False])
def test_what_has_come_already_is_handled_at_the_rate_as_well(fast: bool) -> None:
    own = server(message_rate=Rate(10, 20))
    alice = own.connect()
    alice.send(login("alice"))
    alice.send(message("m", "alice", "alice"))
    sender = "alice" if fast else "x"
    answers = alice.send(*(message("m", sender, "alice", n) for n in range(100)))
    at_once = sum(isinstance(one, Response) for one in answers)
    assert 15 <= at_once <= 25
    waited = 0.0
    while len(answers) < 200:
        assert waited < 10
        own.clock.advance(0.1)
        own.turn()
        answers += alice.received()
        waited += 0.1
    assert waited >= (100 - at_once) / 10 - 1
    assert [one.correlation_id for one in answers if isinstance(one, Response)] == list(range(100))
    alice.lose()


@pytest.mark.parametrize("sender", ["alice", "x"])
def test_long_messages_count_for_several(sender: str) -> None:
    own = server(message_rate=Rate(10, 100))
    alice = own.connect()
    alice.send(login("alice"))
    sent = 0
    while alice.reading:
        alice.send(message("m" * 9000, sender, "alice"))
        sent += 1
    assert 10 <= sent <= 13
    alice.lose()


def publish(peer: Peer2, count: int) -> list[Response2]:
    answers = peer.say(*(Publish(0, "m", 0, ("bob",), 5) for _ in range(count)))
    return [one for one in answers if isinstance(one, Response2)]


def test_version_2_above_its_rate_is_refused_and_told_when(log: list[str]) -> None:
    own = server(message_rate=Rate(10, 20))
    own.on("bob").lose()
    alice = own.on("alice")
    answers = publish(alice, 50)
    ok = [one for one in answers if one.code == Code.OK]
    refused = [one for one in answers if one.code == Code.RATE_LIMITED]
    assert 20 <= len(ok) <= 23
    assert len(ok) + len(refused) == 50
    assert refused[0].detail == "too many messages, 10 a second, 20 at once; try again in 0.1 s"
    assert alice.reading
    assert own.met == {"message_rate": len(refused)}
    assert any("alice" in line and "(message_rate)" in line for line in log)
    own.clock.advance(1)
    answers = publish(alice, 20)
    assert sum(one.code == Code.OK for one in answers) in (10, 11)
    alice.lose()


def test_who_goes_on_after_many_refusals_is_read_more_slowly() -> None:
    own = server(message_rate=Rate(10, 20))
    own.on("bob").lose()
    alice = own.on("alice")
    publish(alice, 90)
    assert alice.reading
    publish(alice, 60)
    assert not alice.reading
    own.until(alice, 1)
    alice.lose()


def test_a_new_session_has_what_was_left() -> None:
    own = server(message_rate=Rate(1, 40))
    own.on("bob").lose()
    for attempt in range(3):
        alice = own.on("alice")
        ok = sum(one.code == Code.OK for one in publish(alice, 60))
        assert ok <= (45 if not attempt else 3)
        alice.lose()


def test_who_acknowledges_much_is_no_flood() -> None:
    own = server(message_rate=Rate(1, 20))
    bob = own.on("bob")
    senders = [own.on(f"sender{n}") for n in range(10)]
    for sender in senders:
        publish(sender, 15)
    delivered = [one for one in bob.heard() if isinstance(one, Deliver)]
    assert len(delivered) == 150
    for one in delivered:
        assert bob.say(Ack(one.offset)) == []
    assert bob.reading
    for _ in range(30):
        bob.say(Ack(1))
    assert not bob.reading
    for peer in (bob, *senders):
        peer.lose()


def test_other_requests_count_and_are_read_more_slowly() -> None:
    own = server(message_rate=Rate(10, 20))
    peer = own.connect()
    for _ in range(30):
        assert all(one == Response2(Code.OK, "") for one in peer.say(Heartbeat()))
    assert not peer.reading
    peer.lose()


def test_those_at_one_address_share_its_rate() -> None:
    own = server(message_rate_per_address=Rate(10, 40))
    own.on("bob").lose()
    users = [own.on(f"user{n}") for n in range(4)]
    answers = [one for user in users for one in publish(user, 20)]
    assert 30 <= sum(one.code == Code.OK for one in answers) <= 40
    refused = [one for one in answers if one.code == Code.RATE_LIMITED]
    assert set(own.met) == {"message_rate_per_address"}
    assert refused


def test_by_default_messages_have_no_rate() -> None:
    own = FairServer()
    alice = own.connect()
    alice.send(login("alice"))
    for _ in range(10):
        alice.send(*(message("m", "alice", "alice", n) for n in range(1000)))
    assert alice.reading
    assert own.met == {}
    alice.lose()


# Logins.


def test_too_many_logins_with_a_name_are_refused(log: list[str]) -> None:
    own = server(login_rate=Rate(1, 5))
    for _ in range(5):
        peer = own.on("alice")
        peer.lose()
    peer = own.connect()
    (answer,) = peer.say(Login2("alice", {}))
    assert isinstance(answer, LoginAnswer)
    assert answer.code == Code.RATE_LIMITED
    assert "too many logins, 1 a second, 5 at once (login_rate); try again in 1.0 s" in (
        answer.detail
    )
    assert own.met == {"login_rate": 1}
    assert any("192.0.2.1:4000: refused, too many logins" in line for line in log)
    assert not peer.reading
    own.clock.advance(1.01)
    assert peer.reading
    (answer,) = peer.say(Login2("alice", {}))
    assert answer.code == Code.OK
    # Others are not concerned, nor is the name from elsewhere.
    assert own.on("bob")
    elsewhere = own.connect("192.0.2.2")
    assert elsewhere.send(login("alice")) == [Response(1, 4)]


def test_too_many_logins_of_an_address_are_refused() -> None:
    own = server(login_rate_per_address=Rate(1, 5))
    for n in range(5):
        own.on(f"user{n}")
    peer = own.connect()
    assert peer.send(login("other")) == [Response(1, ERROR)]
    assert own.met == {"login_rate_per_address": 1}
    assert own.connect("192.0.2.2").send(login("other")) == [Response(1, OK)]


def test_a_long_wait_for_a_login_is_not_held_for_ever() -> None:
    own = server(login_rate=Rate(0.001, 1))
    own.on("alice").lose()
    peer = own.connect()
    peer.say(Login2("alice", {}))
    assert 4.9 <= own.until(peer, 6) <= 5.1
    peer.lose()
    assert not own.clock.getDelayedCalls()


# Connections.


def test_too_many_connections_of_an_address_are_closed(log: list[str]) -> None:
    own = server(connection_rate_per_address=Rate(1, 3))
    address = IPv4Address("TCP", "192.0.2.1", 4000)
    for _ in range(3):
        own.connect().lose()
    refused = own.factory.buildProtocol(address)
    assert isinstance(refused, ClosedLater)
    assert own.met == {"connection_rate_per_address": 1}
    assert "192.0.2.1: connects too often, 1 a second, 3 at once (connection_rate_per_address)" in (
        log
    )
    transport = StringTransport()
    refused.makeConnection(transport)
    assert transport.producerState == "paused"
    own.connect("192.0.2.2")
    own.clock.advance(REJECTED_SECONDS)
    assert transport.disconnected
    own.connect()


def test_of_the_refused_so_many_are_kept() -> None:
    own = server(connection_rate_per_address=Rate(1, 1))
    own.connect()
    transports = []
    for _ in range(REJECTED + 2):
        protocol = own.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
        assert isinstance(protocol, ClosedLater)
        transports.append(StringTransport())
        last = protocol
        last.makeConnection(transports[-1])
    assert [one.disconnected for one in transports[:3]] == [True, True, False]
    last.connectionLost(Failure(ConnectionDone()))
    own.factory.stopFactory()
    assert [one.disconnected for one in transports[-2:]] == [True, False]
    assert not own.clock.getDelayedCalls()


def test_this_machine_has_no_rate() -> None:
    one = Rate(1, 1)
    own = server(
        connection_rate_per_address=one, login_rate=one, login_rate_per_address=one,
        message_rate_per_address=one,
    )  # fmt: skip
    for _ in range(5):
        peer = own.connect("127.0.0.1")
        assert peer.send(login("alice")) == [Response(1, OK)]
        for n in range(5):
            assert Response(n, OK) in peer.send(message("m", "alice", "alice", n))
        peer.lose()
    assert own.met == {}


def test_a_fault_of_one_that_is_resumed_does_not_concern_the_others(
    logged_failures: list[Failure], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = server(message_rate=Rate(10, 20))
    alice, bob = own.connect(), own.connect()
    for peer, name in ((alice, "alice"), (bob, "bob")):
        peer.send(login(name))
        while peer.reading:
            peer.send(message("m", name, name))

    def fault(cause: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(alice.protocol, "resume", fault)
    own.until(bob, 1)
    assert bob.reading
    assert alice.transport.disconnected
    (failure,) = logged_failures
    assert failure.check(ZeroDivisionError)
    logged_failures.clear()
    bob.lose()
