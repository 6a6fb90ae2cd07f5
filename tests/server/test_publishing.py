"""What is published in version 2: ids, refusals, and to whom it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chat_protocol.domain.limits import Limits
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    Deliver,
    Heartbeat,
    Publish,
)
from tests.server import line
from tests.server.line import login, serving
from tests.server.line2 import OK, TIME, Server2, publish


@pytest.fixture
def server() -> Iterator[Server2]:
    yield from serving(Server2())


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
    for ids in ([1], [2, 3, 4], [3, 4, 5], [6, 8, 10], [8, 10], [0, 0], [11]):
        assert alice.say(*(publish(str(n), "bob", id_=n) for n in ids)) == [OK] * len(ids)
    late = alice.say(*(publish(str(n), "bob", id_=n) for n in (7, 8, 9)))
    assert [one.code for one in late] == [Code.OUT_OF_ORDER, Code.OK, Code.OUT_OF_ORDER]
    assert late[0].detail == "publishingId 7 was not stored, but 11 was"
    alice.lose()
    alice = server.on("alice")
    assert alice.granted["publishing-id"] == "11"
    assert alice.say(*(publish(str(n), "bob", id_=n) for n in (10, 11, 12))) == [OK] * 3
    heard = bob.heard()
    ids = [1, 2, 3, 4, 5, 6, 8, 10, 0, 0, 11, 12]
    assert [one.message for one in heard] == [str(n) for n in ids]
    assert [one.offset for one in heard] == list(range(1, 13))
    assert {(one.from_, one.scope, one.to, one.time) for one in heard} == {
        ("alice", 0, ("bob",), TIME)
    }


def test_ids_and_recipients_may_change_at_any_time(server: Server2) -> None:
    alice, bob, old = server.on("alice"), server.on("bob"), server.connect()
    old.send(login("old"))
    old.received()
    said = [publish(str(n), ("bob", "old")[n % 3 == 0], id_=n) for n in range(1, 13)]
    said.insert(6, publish("all"))
    said.insert(3, publish("both", "bob", "old"))
    assert alice.say(*said) == [OK] * len(said)
    numbered = [one for one in said if one.publishing_id]
    assert alice.say(*numbered) == [OK] * len(numbered)
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


def test_a_refused_id_is_new_while_no_higher_one_is_stored(server: Server2) -> None:
    alice = server.on("alice")
    (refused,) = alice.say(publish("a", "bob", id_=1))
    assert (refused.code, "bob" in refused.detail) == (Code.USER_NOT_FOUND, True)
    bob = server.on("bob")
    assert alice.say(publish("a", "bob", id_=1), publish("b", "bob", id_=2)) == [OK] * 2
    assert [one.message for one in bob.heard()] == ["a", "b"]


def test_a_refused_id_is_out_of_order_once_a_higher_one_is_stored(server: Server2) -> None:
    """A resend after a lost connection must not store the second message before the first."""
    alice = server.on("alice")
    (refused,) = alice.say(publish("a", "bob", id_=1))
    assert refused.code == Code.USER_NOT_FOUND
    bob = server.on("bob")
    assert alice.say(publish("b", "bob", id_=2)) == [OK]
    alice.lose()
    alice = server.on("alice")
    first, second = alice.say(publish("a", "bob", id_=1), publish("b", "bob", id_=2))
    assert (first.code, second) == (Code.OUT_OF_ORDER, OK)
    assert alice.say(publish("a", "bob", id_=3)) == [OK]
    assert [one.message for one in bob.heard()] == ["b", "a"]


@pytest.mark.parametrize(("stored", "id_"), [(0, 2**62 + 1), (0, 2**64 - 1), (7, 7 + 2**40 + 1)])
def test_an_id_out_of_bounds_is_malformed(server: Server2, stored: int, id_: int) -> None:
    alice, bob = server.on("alice"), server.on("bob")
    if stored:
        assert alice.say(publish("first", "bob", id_=stored)) == [OK]
    for _ in range(2):
        (refused,) = alice.say(publish("x", "bob", id_=id_))
        assert (refused.code, "publishingId" in refused.detail) == (Code.MALFORMED, True)
    assert alice.say(publish("y", "bob", id_=stored + 1)) == [OK]
    assert bob.heard()[-1].message == "y"


def test_publishes_to_several_come_many_at_a_time(server: Server2) -> None:
    """From the second one on the audience is at hand, and one Message holds all that follow."""
    alice, bob, carol = server.on("alice"), server.on("bob"), server.on("carol")
    old = server.connect()
    old.send(login("old"))
    old.received()
    assert alice.say(publish("0", "carol", "bob", "old", id_=1)) == [OK]
    submitted: list[Any] = []
    submit = server.factory.exchange.submit

    def noted(message: Any) -> None:
        submitted.append(message)
        submit(message)

    server.factory.exchange.submit = noted  # type: ignore[method-assign]
    said = [publish(str(n), "carol", "bob", "old", id_=n + 1) for n in range(1, 50)]
    assert alice.say(*said) == [OK] * 49
    assert [len(one.texts) for one in submitted] == [49]
    for peer in (bob, carol):
        heard = peer.heard()
        assert [one.message for one in heard] == [str(n) for n in range(50)]
        assert {one.to for one in heard} == {("carol", "bob", "old")}
    assert old.received() == [line.Message(str(n), "alice", "old", TIME) for n in range(50)]


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
