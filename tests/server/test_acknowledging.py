"""What is acknowledged in version 2, and the window of what is not yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import (
    Ack,
    Deliver,
)
from tests.server import line
from tests.server.line import login, serving
from tests.server.line2 import Server2, publish


@pytest.fixture
def server() -> Iterator[Server2]:
    yield from serving(Server2())


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


def test_acks_that_come_at_once_count_as_the_highest(server: Server2) -> None:
    alice, bob = server.on("alice"), server.on("bob")
    alice.say(*(publish(str(n), "bob") for n in range(5)))
    offsets = [one.offset for one in bob.heard()]
    assert bob.say(Ack(offsets[2]), Ack(offsets[0])) == []
    bob.lose()
    again: Any = server.on("bob")
    assert [one.message for one in again.mail] == ["3", "4"]
