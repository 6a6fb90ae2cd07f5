"""Version 2 on one server: what docs/protocol.md says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chat_protocol.domain.limits import Limits
from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    Close,
    CorrelationIdTest,
    Deliver,
    Heartbeat,
    History,
    HistoryAnswer,
    Login2,
    Message,
    Presence,
    Publish,
    Response,
    Users,
    UsersAnswer,
    UserStatus,
)

from . import line
from .line import login
from .line2 import OK, TIME, Peer2, Server2, publish


@pytest.fixture
def server() -> Iterator[Server2]:
    made = Server2()
    yield made
    for connection in list(made.factory.connections):
        connection.connectionLost()
    made.turn()
    assert made.clock.getDelayedCalls() == []


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


def test_what_is_not_acknowledged_comes_again_with_its_offset(server: Server2) -> None:
    alice, bob = server.on("alice"), server.on("bob")
    alice.say(*(publish(str(n), "bob") for n in range(4)), publish("all"))
    first = bob.heard()
    bob.say(Ack(first[1].offset))
    bob.lose()
    again: Any = server.on("bob")
    assert again.granted["pending"] == "3"
    assert again.mail == first[2:]
    again.say(Ack(first[4].offset))
    again.lose()
    last: Any = server.on("bob")
    assert (last.granted["pending"], last.mail) == ("0", [])


def test_what_was_never_sent_cannot_be_acknowledged(server: Server2) -> None:
    alice, bob = server.on("alice"), server.on("bob", window="2")
    bob.say(Ack(2**64 - 1))
    alice.say(*(publish(str(n), "bob") for n in range(5)))
    assert len(bob.heard()) == 2
    bob.say(Ack(2**64 - 1))
    bob.lose()
    again: Any = server.on("bob")
    assert [one.message for one in again.mail][-1] == "4"


@pytest.mark.parametrize("window", [1, 2, 3, 7, 100])
def test_no_more_than_the_window_are_on_their_way(server: Server2, window: int) -> None:
    alice, bob = server.on("alice"), server.on("bob", window=str(window))
    seen: list[Deliver] = []
    for turn in range(60):
        if turn < 10:
            alice.say(*(publish(f"{turn}.{n}", "bob") for n in range(3)))
        new = bob.heard()
        assert len(new) <= window
        seen += new
        if new:
            bob.protocol.dataReceived(encode(Ack(new[-1].offset)))
            server.turn()
    assert [one.message for one in seen] == [f"{t}.{n}" for t in range(10) for n in range(3)]


def test_a_run_of_version_1_messages_larger_than_the_window(server: Server2) -> None:
    old, bob = server.connect(), server.on("bob", window="3")
    old.send(login("old"))
    old.send(line.message("known", "old", "bob"))
    (first,) = bob.heard()
    bob.say(Ack(first.offset))
    old.send(*(line.message(str(n), "old", "bob", n) for n in range(10)))
    texts = []
    for _ in range(10):
        new = bob.heard()
        assert len(new) <= 3
        texts += [one.message for one in new]
        if new:
            bob.protocol.dataReceived(encode(Ack(new[-1].offset)))
            server.turn()
    assert texts == [str(n) for n in range(10)]


def test_what_was_stored_under_an_id_is_not_stored_again(server: Server2) -> None:
    alice: Any = server.on("alice")
    bob = server.on("bob")
    assert alice.say(publish("a", "bob", id_=1), publish("b", "bob", id_=2)) == [OK] * 2
    assert alice.say(publish("a", "bob", id_=1), publish("b", "bob", id_=2)) == [OK] * 2
    alice.lose()
    alice = server.on("alice")
    assert alice.granted["publishing-id"] == "2"
    assert alice.say(publish("b", "bob", id_=2), publish("c", "bob", id_=3)) == [OK] * 2
    assert bob.say(publish("x", "alice", id_=1)) == [
        *(Deliver(n, t, "alice", 0, ("bob",), TIME) for n, t in enumerate("abc", 1)),
        OK,
    ]


def test_ids_are_remembered_however_many_come_at_once(server: Server2) -> None:
    """From the second message on, the recipient is at hand."""
    alice: Any = server.on("alice")
    bob = server.on("bob", window="1000")
    for ids in ([1], [2, 3, 4], [3, 4, 5], [6, 8, 10], [7, 8, 9], [0, 0], [11]):
        assert alice.say(*(publish(str(n), "bob", id_=n) for n in ids)) == [OK] * len(ids)
    alice.lose()
    alice = server.on("alice")
    assert alice.granted["publishing-id"] == "11"
    assert alice.say(*(publish(str(n), "bob", id_=n) for n in (10, 11, 12))) == [OK] * 3
    heard = bob.heard()
    ids = [1, 2, 3, 4, 5, 6, 8, 10, 7, 9, 0, 0, 11, 12]
    assert [one.message for one in heard] == [str(n) for n in ids]
    assert [one.offset for one in heard] == list(range(1, 15))
    assert {(one.from_, one.scope, one.to, one.time) for one in heard} == {
        ("alice", 0, ("bob",), TIME)
    }


def test_ids_and_recipients_may_change_at_any_time(server: Server2) -> None:
    alice, bob, old = server.on("alice"), server.on("bob"), server.connect()
    old.send(login("old"))
    old.received()
    said = [publish(str(n), ("bob", "old")[n % 3 == 0], id_=n) for n in range(1, 13)]
    said.insert(6, publish("all", id_=100))
    said.insert(3, publish("both", "bob", "old", id_=101))
    for _ in range(3):
        assert alice.say(*said) == [OK] * len(said)
    to_bob = [one.message for one in bob.heard()]
    assert to_bob == ["1", "2", "both", "4", "5", "all", "7", "8", "10", "11"]
    to_old = [one.text for one in old.received() if isinstance(one, line.Message)]
    assert to_old == ["3", "both", "6", "all", "9", "12"]


def test_a_full_mailbox_refuses_the_rest_of_those_that_come_at_once() -> None:
    server = Server2(limits=Limits(mailbox=3))
    alice = server.on("alice")
    server.on("bob").lose()
    said = [publish(str(n), "bob", id_=n) for n in range(1, 6)]
    for _ in range(2):
        answers = alice.say(said[0]) + alice.say(*said[1:])
        assert answers[:3] == [OK] * 3
        assert [one.code for one in answers[3:]] == [Code.MAILBOX_FULL] * 2
        assert all("3 messages wait for bob" in one.detail for one in answers[3:])
    bob: Any = server.on("bob")
    assert [one.message for one in bob.mail] == ["1", "2", "3"]
    bob.say(Ack(bob.mail[-1].offset))
    assert alice.say(*said) == [OK] * 5
    assert [one.message for one in bob.heard()] == ["4", "5"]


def test_acks_that_come_at_once_count_as_the_highest(server: Server2) -> None:
    alice, bob = server.on("alice"), server.on("bob")
    alice.say(*(publish(str(n), "bob") for n in range(5)))
    offsets = [one.offset for one in bob.heard()]
    assert bob.say(Ack(offsets[2]), Ack(offsets[0])) == []
    bob.lose()
    again: Any = server.on("bob")
    assert [one.message for one in again.mail] == ["3", "4"]


def test_a_refused_id_is_new_when_it_comes_again(server: Server2) -> None:
    alice = server.on("alice")
    (refused,) = alice.say(publish("a", "bob", id_=1))
    assert (refused.code, "bob" in refused.detail) == (Code.USER_NOT_FOUND, True)
    bob = server.on("bob")
    assert alice.say(publish("b", "bob", id_=2), publish("a", "bob", id_=1)) == [OK] * 2
    assert [one.message for one in bob.heard()] == ["b", "a"]


def test_all_or_nobody(server: Server2) -> None:
    limited = Server2(limits=Limits(mailbox=1))
    alice, bob = limited.on("alice"), limited.on("bob")
    carol = limited.on("carol")
    carol.lose()
    alice.say(publish("fills", "carol"))
    (full,) = alice.say(publish("x", "bob", "carol"))
    assert (full.code, "carol" in full.detail) == (Code.MAILBOX_FULL, True)
    (unknown,) = alice.say(publish("x", "bob", "nobody"))
    assert (unknown.code, "nobody" in unknown.detail) == (Code.USER_NOT_FOUND, True)
    assert bob.heard() == []
    assert alice.say(publish("y", "bob", "bob")) == [OK]
    assert bob.heard() == [Deliver(2, "y", "alice", 0, ("bob",), TIME)]
    for peer in (alice, bob):
        peer.lose()


@pytest.mark.parametrize(
    "bad",
    [
        Publish(0, "x", 0, (), TIME),
        Publish(0, "x", 1, ("bob",), TIME),
        Publish(0, "x", 2, ("bob",), TIME),
        Publish(0, "x", 0, ("bob",) * 1001, TIME),
    ],
)
def test_a_publication_that_breaks_a_rule_is_malformed(server: Server2, bad: Publish) -> None:
    alice = server.on("alice")
    (answer,) = alice.say(bad)
    assert answer.code == Code.MALFORMED
    assert answer.detail
    assert alice.say(Heartbeat()) == [OK]


def test_to_everyone_is_to_those_registered_at_that_moment(server: Server2) -> None:
    alice, bob = server.on("alice"), server.on("bob")
    bob.lose()
    alice.say(publish("all"))
    carol: Any = server.on("carol")
    assert carol.mail == []
    bob = server.on("bob")
    assert bob.mail == [Deliver(1, "all", "alice", 1, (), TIME)]  # type: ignore[attr-defined]
    old = server.connect()
    old.send(login("old"))
    bob.lose()
    assert server.on("alice2").mail == []  # type: ignore[attr-defined]


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
    assert server.factory.directory.session_of("alice") is None
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
