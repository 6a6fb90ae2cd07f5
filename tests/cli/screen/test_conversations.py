"""What a conversation keeps, in which order, and how much of it."""

from __future__ import annotations

import pytest

from chat_protocol.cli.screen.conversations import (
    EVERYONE,
    READING,
    SCROLLBACK,
    SCROLLBACK_TEXT,
    Talk,
    partners_of,
)
from chat_protocol.cli.screen.entries import Entry, Kind
from tests.cli.screen.samples import entry, message, talk


@pytest.mark.parametrize(
    ("sender", "to", "everyone", "partners"),
    [
        ("bob", ("alice",), False, ("bob",)),
        ("alice", ("bob",), False, ("bob",)),
        ("alice", ("alice",), False, ("alice",)),
        ("bob", ("alice", "carol"), False, ("bob", "carol")),
        ("alice", ("carol", "bob"), False, ("bob", "carol")),
        ("carol", ("bob", "alice"), False, ("bob", "carol")),
        ("bob", (), True, EVERYONE),
    ],
)
def test_which_conversation_a_message_belongs_to(
    sender: str, to: tuple[str, ...], everyone: bool, partners: tuple[str, ...]
) -> None:
    assert partners_of(sender, to, everyone, "alice") == partners


def test_messages_stand_in_the_order_of_their_numbers() -> None:
    made = Talk(("bob",))
    for offset in (5, 7, 6, 1, 9):
        made.add(Entry.of(message(f"n{offset}", offset=offset), "alice"))
    made.add(entry("last"))
    made.add(Entry.of(message("n8", offset=8), "alice"))
    assert [one.text for one in made.entries] == ["n1", "n5", "n6", "n7", "n8", "n9", "last"]
    assert made.oldest == 1


def test_what_is_here_is_not_added() -> None:
    made = Talk(("bob",))
    first = made.add(Entry.of(message("once", offset=5), "alice"))
    assert made.add(Entry.of(message("once", offset=5), "alice")) is first
    assert len(made.entries) == 1


def test_an_own_message_comes_back_with_its_number() -> None:
    made = Talk(("bob",))
    own = made.add(Entry(Kind.SENDING, "mine", None, "alice", stamp=77))
    found = Entry(Kind.STORED, "mine", None, "alice", stamp=77, offset=5, position=5)
    assert made.add(found) is own
    assert (own.kind, own.offset) == (Kind.STORED, 5)
    assert len(made.entries) == 1
    # The same time twice is another message.
    other = Entry(Kind.STORED, "other", None, "alice", stamp=77, offset=6, position=6)
    assert made.add(other) is other


def test_the_oldest_go_first() -> None:
    made = talk(*(f"n{number}" for number in range(SCROLLBACK + 50)))
    made.trim()
    assert len(made.entries) == SCROLLBACK + 50
    for number in range(SCROLLBACK + 50, SCROLLBACK + 200):
        made.add(Entry.of(message(f"n{number}", offset=number + 1), "alice"))
    made.complete = True
    made.trim()
    assert len(made.entries) == SCROLLBACK
    assert made.entries[0].text == "n200"
    assert made.oldest == 201
    assert not made.complete
    # What was given up may come back.
    made.add(Entry.of(message("n199", offset=200), "alice"))
    assert made.entries[0].text == "n199"


def test_more_is_kept_while_somebody_reads() -> None:
    made = talk(*(f"n{number}" for number in range(SCROLLBACK + 500)))
    made.bottom, made.hidden = made.entries[10], 1
    made.trim()
    assert len(made.entries) == SCROLLBACK + 500
    for number in range(SCROLLBACK + 500, READING + 500):
        made.add(Entry.of(message(f"n{number}", offset=number + 1), "alice"))
    assert made.full
    made.trim()
    assert len(made.entries) == READING
    assert (made.bottom, made.hidden) == (made.entries[0], 0)


def test_long_texts_count() -> None:
    made = Talk(("bob",))
    size = 60_000
    for number in range(30):
        made.add(Entry.of(message("x" * size, offset=number + 1), "alice"))
        made.trim()
    assert len(made.entries) == SCROLLBACK_TEXT // size
    made.add(Entry.of(message("y" * (SCROLLBACK_TEXT + 1), offset=99), "alice"))
    made.trim()
    assert [one.text[0] for one in made.entries] == ["y"]
