"""Passwords: which of them let a user in."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.rates import Rate
from chat_protocol.errors import AuthenticationFailed
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.throttle import FREE_GUESSES
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Heartbeat, Login2, Response2
from tests.server import line
from tests.server.line2 import Peer2, Server2


@implementer(ICredentialsChecker)
class SlowChecker:
    """Answers when the test does."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Deferred[Any]]] = []

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.asked.append((credentials, answer))
        return answer


class GuardedServer(Server2):
    def __init__(self, checker: Any, limits: Limits | None = None, version_1: bool = False) -> None:
        super().__init__(limits=limits)
        self.factory = ChatFactory(
            self.store,
            self.clock,
            lambda: 1234,
            self.limits,
            authenticator=Authenticator([checker], self.clock, version_1),
        )


def database() -> InMemoryUsernamePasswordDatabaseDontUse:
    return InMemoryUsernamePasswordDatabaseDontUse(alice=b"secret", bob="ümlaut".encode())


def code(peer: Peer2, name: str, **properties: str) -> int:
    (answer, *_) = peer.say(Login2(name, properties))
    return int(answer.code)


def test_the_right_password_lets_in_and_no_other() -> None:
    server = GuardedServer(database())
    peer = server.connect()
    assert code(peer, "alice") == Code.AUTHENTICATION_FAILED
    assert code(peer, "alice", password="wrong") == Code.AUTHENTICATION_FAILED
    assert code(peer, "nobody", password="secret") == Code.AUTHENTICATION_FAILED
    assert not server.factory.directory.is_online("alice")
    assert code(peer, "alice", password="secret") == Code.OK
    assert code(server.connect(), "bob", password="ümlaut") == Code.OK


def test_version_1_is_refused_unless_it_is_trusted() -> None:
    server = GuardedServer(database())
    assert server.connect().send(line.login("alice")) == [line.Response(1, 3)]
    trusting = GuardedServer(database(), version_1=True)
    assert trusting.connect().send(line.login("alice")) == [line.Response(1, 1)]
    assert code(trusting.connect(), "bob") == Code.AUTHENTICATION_FAILED


def test_a_crowd_at_an_address_does_not_lock_out_who_was_let_in_from_there() -> None:
    server = GuardedServer(database(), Limits(login_rate_per_address=Rate(1, 3)))
    address = IPv4Address("TCP", "192.0.2.1", 4000)

    def log_in(name: str, password: str) -> int:
        peer = Peer2(server, server.factory.buildProtocol(address))
        (answer,) = peer.say(Login2(name, {"password": password}))
        peer.lose()
        return int(answer.code)

    assert log_in("alice", "secret") == Code.OK
    for number in range(2):
        assert log_in(str(number), "x") == Code.AUTHENTICATION_FAILED
    assert log_in("bob", "ümlaut") == Code.RATE_LIMITED
    assert log_in("alice", "secret") == Code.OK


def test_a_slow_check_delays_nothing_else() -> None:
    checker = SlowChecker()
    server = GuardedServer(checker)
    alice, bob = server.connect(), server.connect()
    assert alice.say(Login2("alice", {"password": "x"}), Heartbeat()) == []
    assert bob.say(Heartbeat()) == [Response2(Code.OK)]
    assert bob.say(Login2("bob", {"password": "y"})) == []
    (credentials, first), (_, second) = checker.asked
    assert (credentials.username, credentials.password) == (b"alice", b"x")
    second.callback(b"bob")
    server.turn()
    assert bob.heard()[0].code == Code.OK
    first.callback(b"alice")
    server.turn()
    assert [one.code for one in alice.heard()] == [Code.OK, Code.OK]


def test_a_connection_that_is_lost_during_a_check_leaves_nothing() -> None:
    checker = SlowChecker()
    server = GuardedServer(checker)
    peer = server.connect()
    peer.say(Login2("alice", {"password": "x"}))
    peer.lose()
    assert server.factory.directory.online == []
    assert server.clock.getDelayedCalls() == []


def test_one_password_of_a_name_is_checked_at_a_time() -> None:
    checker = SlowChecker()
    server = GuardedServer(checker)
    first, second = server.connect(), server.connect()
    first.say(Login2("alice", {"password": "x"}))
    assert code(second, "alice", password="y") == Code.RATE_LIMITED
    assert len(checker.asked) == 1
    first.lose()


def test_a_checker_that_never_answers_is_given_up(logged_failures: list[Any]) -> None:
    server = GuardedServer(SlowChecker())
    peer = server.connect()
    peer.say(Login2("alice", {"password": "x"}))
    server.clock.advance(30)
    server.turn()
    assert [one.code for one in peer.heard()] == [Code.ERROR]
    assert len(logged_failures) == 1
    logged_failures.clear()


@pytest.mark.parametrize(("fails", "counts"), [(False, True), (True, False)])
def test_a_password_whose_check_was_not_awaited_counts(
    fails: bool, counts: bool, logged_failures: list[Any]
) -> None:
    checker = SlowChecker()
    server = GuardedServer(checker)
    for _ in range(FREE_GUESSES):
        peer = server.connect()
        peer.say(Login2("alice", {"password": "x"}))
        if fails:
            checker.asked[-1][1].errback(ZeroDivisionError())
            server.turn()
        peer.lose()
    server.clock.advance(0.5)
    peer = server.connect()
    refused = peer.say(Login2("alice", {"password": "x"}))
    assert [one.code for one in refused] == [Code.RATE_LIMITED] * counts
    peer.lose()
    logged_failures.clear()


def test_a_version_2_login_needs_a_password_even_where_version_1_does_not() -> None:
    clock = Clock()
    authenticator = Authenticator([database()], clock, version_1=True)
    with pytest.raises(AuthenticationFailed):
        authenticator.check("host", "alice", None, 2).send(None)
