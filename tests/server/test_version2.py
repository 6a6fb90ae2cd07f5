"""Version 2 on one server: what docs/protocol.md says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Close,
    CorrelationIdTest,
    Deliver,
    Heartbeat,
    History,
    HistoryAnswer,
    Login2,
    Message,
    Presence,
    Response,
    Users,
    UsersAnswer,
    UserStatus,
)
from tests.server import line
from tests.server.line import login, serving
from tests.server.line2 import OK, TIME, Peer2, Server2, publish


@pytest.fixture
def server() -> Iterator[Server2]:
    yield from serving(Server2())


def test_a_login_says_what_is_granted(server: Server2) -> None:
    alice: Any = server.on("alice", window="50", heartbeat="30", product="test")
    assert alice.granted["window"] == "50"
    assert alice.granted["heartbeat"] == "30"
    assert alice.granted["max-frame-length"] == "262144"
    assert alice.granted["publishing-id"] == alice.granted["pending"] == "0"
    assert len(alice.granted["session"]) >= 32
    assert alice.granted["product"] == "chat-protocol"


@pytest.mark.parametrize("window", ["", "0", "-1", "x", "99999999999999999999", "٣"])
def test_wishes_that_cannot_be_read_are_ignored(server: Server2, window: str) -> None:
    alice: Any = server.on("alice", window=window, heartbeat=window)
    assert alice.granted["window"] == "1000"
    assert alice.granted["heartbeat"] == "0"


def test_refusals_of_version_2_are_precise(server: Server2) -> None:
    peer = server.connect()
    assert peer.say(Login2(" x"))[0].code == Code.INVALID_USERNAME
    assert peer.say(publish("hi", "bob"))[0].code == Code.NOT_LOGGED_IN
    assert peer.say(History("", 0, 0))[0].code == Code.NOT_LOGGED_IN
    server.on("alice")
    (answer,) = peer.say(Login2("alice"))
    assert (answer.code, answer.properties) == (Code.USER_ALREADY_LOGGED, {})
    peer.protocol.dataReceived(line.frame(0x0999, b"\0\0\0\x07", version=2))
    server.turn()
    assert peer.heard()[0].code == Code.UNKNOWN_COMMAND


def test_a_request_is_answered_in_its_own_version(server: Server2) -> None:
    alice, bob = server.on("alice"), server.on("bob")
    assert alice.say(Message("hi", "x", "bob", TIME)) == [Response(Code.OK)]
    frame = encode(Message("hi", "x", "bob", TIME), 9, version=2)
    alice.protocol.dataReceived(frame)
    server.turn()
    assert alice.heard() == [OK]
    assert [one.offset for one in bob.heard()] == [1, 2]
    old = server.connect()
    assert old.send(login("old")) == [line.Response(1, 1)]
    assert old.say(publish("hey", "bob")) == [OK]


def test_version_2_commands_are_unknown_to_version_1(server: Server2) -> None:
    peer = server.connect()
    payload = bytearray(encode(Heartbeat(), 7))
    payload[4] = 1
    assert peer.send(bytes(payload)) == [line.Response(7, 2)]


def test_each_scope_reaches_both_versions(server: Server2) -> None:
    alice, bob = server.on("alice"), server.on("bob")
    old: Any = server.connect()
    old.send(login("old"))
    assert (
        alice.say(publish("one", "bob"), publish("two", "bob", "old"), publish("all")) == [OK] * 3
    )
    assert bob.heard() == [
        Deliver(1, "one", "alice", 0, ("bob",), TIME),
        Deliver(2, "two", "alice", 0, ("bob", "old"), TIME),
        Deliver(3, "all", "alice", 1, (), TIME),
    ]
    assert old.received() == [
        line.Message("two", "alice", "old", TIME),
        line.Message("all", "alice", "old", TIME),
    ]
    assert alice.heard() == []
    old.send(line.message("re", "old", "bob"))
    assert bob.heard() == [Deliver(4, "re", "old", 0, ("bob",), TIME)]


def test_users_are_listed_in_the_order_of_their_bytes(server: Server2) -> None:
    alice = server.on("alice")
    for name in ("Zoe", "bob", "ä"):
        server.on(name).lose()
    (answer,) = alice.say(Users("", 0))
    assert answer == UsersAnswer(
        Code.OK,
        "",
        tuple(UserStatus(n, int(n == "alice"), 1234) for n in ("Zoe", "alice", "bob", "ä")),
    )
    (page,) = alice.say(Users("alice", 1))
    assert [user.username for user in page.users] == ["bob"]


def test_history_is_between_two_or_all_of_ones_own(server: Server2) -> None:
    alice, bob, carol = server.on("alice"), server.on("bob"), server.on("carol")
    alice.say(publish("ab", "bob"), publish("ac", "carol"), publish("abc", "bob", "carol"))
    bob.say(publish("ba", "alice"), publish("bc", "carol"), publish("all"))
    carol.say(publish("ca", "alice"))

    def texts(peer: Peer2, with_: str, before: int = 0, limit: int = 0) -> list[str]:
        answers = peer.say(History(with_, before, limit))
        (answer,) = (one for one in answers if isinstance(one, HistoryAnswer))
        assert answer.code == Code.OK
        return [message.message for message in answer.messages]

    assert texts(alice, "bob") == ["ab", "abc", "ba", "all"]
    assert texts(bob, "alice") == ["ab", "abc", "ba", "all"]
    assert texts(alice, "carol") == ["ac", "abc", "ca"]
    assert texts(alice, "") == ["ab", "ac", "abc", "ba", "all", "ca"]
    assert texts(carol, "bob") == ["bc", "all"]
    assert texts(alice, "", before=4) == ["ab", "ac", "abc"]
    assert texts(alice, "", limit=2) == ["all", "ca"]
    assert texts(alice, "bob", before=4, limit=1) == ["abc"]
    (unknown,) = alice.say(History("nobody", 0, 0))
    assert (unknown.code, unknown.messages) == (Code.USER_NOT_FOUND, ())


def test_presence_goes_to_those_who_asked(server: Server2) -> None:
    alice, bob = server.on("alice", presence="1"), server.on("bob")
    assert alice.heard() == [Presence("bob", 1, 1234)]
    server.connect().send(login("old"))
    bob.lose()
    assert alice.heard() == [Presence("old", 1, 1234), Presence("bob", 0, 1234)]


def test_who_takes_nothing_is_told_the_last_of_each_user(server: Server2) -> None:
    alice = server.on("alice", presence="1")
    output: Any = alice.protocol.output
    output.pauseProducing()
    server.on("zoe")
    alice.heard()
    for name in ("bob", "carol"):
        server.on(name).lose()
    server.on("bob")
    assert alice.heard() == []
    output.resumeProducing()
    server.turn()
    assert alice.heard() == [Presence("carol", 0, 1234), Presence("bob", 1, 1234)]


def test_close_is_the_logout_and_frees_the_name_first(server: Server2) -> None:
    alice = server.on("alice")
    alice.protocol.dataReceived(encode(Close(Code.OK, "bye"), 7))
    assert not server.factory.directory.is_online("alice")
    server.turn()
    assert alice.heard() == [OK]
    assert alice.transport.disconnecting
    server.on("alice")


def test_a_session_is_taken_over_with_its_token_only(server: Server2) -> None:
    alice: Any = server.on("alice")
    other = server.connect()
    for token in ("", "guess"):
        (refused,) = other.say(Login2("alice", {"session": token}))
        assert refused.code == Code.USER_ALREADY_LOGGED
    bob = server.on("bob")
    bob.say(publish("hi", "alice"))
    (message,) = alice.heard()
    answer, again = other.say(Login2("alice", {"session": alice.granted["session"]}))
    assert (answer.code, again) == (Code.OK, message)
    assert [type(one) for one in alice.heard()] == [Close]
    assert alice.transport.disconnecting
    bob.say(publish("there", "alice"))
    assert [one.message for one in other.heard()] == ["there"]
    third = server.connect()
    (refused,) = third.say(Login2("alice", {"session": alice.granted["session"]}))
    assert refused.code == Code.USER_ALREADY_LOGGED


def test_who_promised_a_heartbeat_and_is_silent_is_closed(server: Server2) -> None:
    server.factory.doStart()
    alice, bob = server.on("alice", heartbeat="5"), server.on("bob")
    for _ in range(8):
        server.clock.advance(1)
    assert alice.say(Heartbeat()) == [OK]
    for _ in range(9):
        server.clock.advance(1)
        server.turn()
    assert alice.heard() == []
    for _ in range(3):
        server.clock.advance(1)
        server.turn()
    (closed,) = alice.heard()
    assert closed.code == Code.HEARTBEAT_MISSED
    assert not bob.transport.disconnecting
    server.factory.doStop()


def test_a_stopping_server_says_so(server: Server2) -> None:
    alice, old = server.on("alice"), server.connect()
    old.send(login("old"))
    stopped = server.factory.shut_down()
    server.turn()
    (closed,) = alice.heard()
    assert closed.code == Code.GOING_AWAY
    assert old.received() == []
    alice.lose()
    old.lose()
    server.turn()
    assert stopped.called


def test_a_correlation_id_test_in_version_2(server: Server2) -> None:
    peer = server.connect()
    peer.protocol.dataReceived(encode(CorrelationIdTest(), 1, version=2))
    server.clock.advance(4)
    server.turn()
    assert peer.heard() == [OK]
