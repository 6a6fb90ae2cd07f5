"""The entries of a conversation: order, duplicates and limits."""

from __future__ import annotations

import pytest

from chat_protocol.cli.screen.conversations import (
    EVERYONE,
    SCROLLBACK,
    SCROLLBACK_TEXT,
    SCROLLBACK_WHILE_SCROLLED,
    Conversation,
    partners_of,
)
from chat_protocol.cli.screen.entries import Entry, EntryKind
from tests.cli.screen.samples import conversation, entry, message


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
def test_the_conversation_of_a_message(
    sender: str, to: tuple[str, ...], everyone: bool, partners: tuple[str, ...]
) -> None:
    assert partners_of(sender, to, everyone, "alice") == partners


def test_messages_are_sorted_by_offset() -> None:
    made = Conversation(("bob",))
    for offset in (5, 7, 6, 1, 9):
        made.add(Entry.of(message(f"n{offset}", offset=offset), "alice"))
    made.add(entry("last"))
    made.add(Entry.of(message("n8", offset=8), "alice"))
    assert [one.text for one in made.entries] == ["n1", "n5", "n6", "n7", "n8", "n9", "last"]
    assert made.oldest == 1


def test_a_duplicate_is_not_added() -> None:
    made = Conversation(("bob",))
    first = made.add(Entry.of(message("once", offset=5), "alice"))
    assert made.add(Entry.of(message("once", offset=5), "alice")) is first
    assert len(made.entries) == 1


def test_an_own_message_gets_its_offset_from_history() -> None:
    made = Conversation(("bob",))
    own = made.add(Entry(EntryKind.SENDING, "mine", None, "alice", timestamp=77))
    found = Entry(EntryKind.STORED, "mine", None, "alice", timestamp=77, offset=5, position=5)
    assert made.add(found) is own
    assert (own.kind, own.offset) == (EntryKind.STORED, 5)
    assert len(made.entries) == 1
    # A second message with the same timestamp is another message.
    other = Entry(EntryKind.STORED, "other", None, "alice", timestamp=77, offset=6, position=6)
    assert made.add(other) is other


def test_the_oldest_entries_are_dropped_first() -> None:
    made = conversation(*(f"n{number}" for number in range(SCROLLBACK + 50)))
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
    # A dropped entry may be loaded again.
    made.add(Entry.of(message("n199", offset=200), "alice"))
    assert made.entries[0].text == "n199"


def test_more_entries_are_kept_while_scrolled_up() -> None:
    made = conversation(*(f"n{number}" for number in range(SCROLLBACK + 500)))
    made.bottom, made.rows_hidden = made.entries[10], 1
    made.trim()
    assert len(made.entries) == SCROLLBACK + 500
    for number in range(SCROLLBACK + 500, SCROLLBACK_WHILE_SCROLLED + 500):
        made.add(Entry.of(message(f"n{number}", offset=number + 1), "alice"))
    assert made.is_full
    made.trim()
    assert len(made.entries) == SCROLLBACK_WHILE_SCROLLED
    assert (made.bottom, made.rows_hidden) == (made.entries[0], 0)


def test_the_size_of_texts_is_limited() -> None:
    made = Conversation(("bob",))
    size = 60_000
    for number in range(30):
        made.add(Entry.of(message("x" * size, offset=number + 1), "alice"))
        made.trim()
    assert len(made.entries) == SCROLLBACK_TEXT // size
    made.add(Entry.of(message("y" * (SCROLLBACK_TEXT + 1), offset=99), "alice"))
    made.trim()
    assert [one.text[0] for one in made.entries] == ["y"]
