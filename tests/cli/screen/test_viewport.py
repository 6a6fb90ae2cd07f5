"""The visible part of a conversation."""

from __future__ import annotations

from chat_protocol.cli.screen.capabilities import Capabilities
from chat_protocol.cli.screen.conversations import Conversation
from chat_protocol.cli.screen.entries import Entry
from chat_protocol.cli.screen.viewport import Viewport
from tests.cli.screen.samples import conversation, entry, message, plain

NUMBERS = [f"n{number}" for number in range(10)]


def window(conversation: Conversation, height: int = 4, width: int = 70) -> Viewport:
    return Viewport(conversation, width, height, Capabilities())


def shown(conversation: Conversation, height: int = 4, width: int = 70) -> list[str]:
    """Return the last word of each visible row."""
    rows = plain(window(conversation, height, width).rows())
    return [row.split()[-1].rstrip("─") or "day" for row in rows]


def test_the_end_is_shown() -> None:
    made = conversation(*NUMBERS)
    assert shown(made) == ["n6", "n7", "n8", "n9"]
    made.add(entry("n10"))
    assert shown(made) == ["n7", "n8", "n9", "n10"]


def test_an_empty_conversation() -> None:
    made = conversation()
    assert shown(made) == []
    assert window(made).scroll(-3) is True
    assert made.at_end


def test_scrolling_up_and_down() -> None:
    made = conversation(*NUMBERS)
    assert window(made).scroll(-2) is False
    assert shown(made) == ["n4", "n5", "n6", "n7"]
    made.add(entry("n10"))
    assert shown(made) == ["n4", "n5", "n6", "n7"]
    window(made).scroll(1)
    assert shown(made) == ["n5", "n6", "n7", "n8"]
    made.unread = made.new_below = 1
    window(made).scroll(100)
    assert made.at_end
    assert (made.unread, made.new_below) == (0, 0)
    assert shown(made) == ["n7", "n8", "n9", "n10"]


def test_scrolling_stops_at_the_top() -> None:
    made = conversation(*NUMBERS)
    assert window(made).scroll(-100) is True
    assert shown(made) == ["day", "n0", "n1", "n2"]
    assert window(made).scroll(-1) is True
    assert shown(made) == ["day", "n0", "n1", "n2"]
    window(made).scroll(1)
    assert shown(made) == ["n0", "n1", "n2", "n3"]
    made = conversation(*NUMBERS)
    window(made).to_top()
    assert shown(made) == ["day", "n0", "n1", "n2"]


def test_a_short_conversation_does_not_scroll() -> None:
    made = conversation("n0", "n1")
    assert window(made).scroll(-5) is True
    assert made.at_end


def test_a_long_message_is_scrolled_row_by_row() -> None:
    made = conversation("above", "\n".join(f"r{number}" for number in range(10)))
    window(made).scroll(-3)
    assert shown(made) == ["r3", "r4", "r5", "r6"]
    window(made).scroll(2)
    assert shown(made) == ["r5", "r6", "r7", "r8"]


def test_older_messages_are_inserted_above() -> None:
    made = Conversation(("bob",))
    for number in range(5, 10):
        made.add(Entry.of(message(f"n{number}", offset=number + 1), "alice"))
    window(made).scroll(-100)
    before = shown(made)
    for number in range(5):
        made.add(Entry.of(message(f"n{number}", offset=number + 1), "alice"))
    assert shown(made)[1:] == before[1:]
    window(made).scroll(-3)
    assert shown(made) == ["n1", "n2", "n3", "n4"]


def test_resizing_the_window() -> None:
    made = conversation(*NUMBERS, " ".join(f"w{number}" for number in range(100)), "below")
    window(made, width=30).scroll(-12)
    assert made.rows_hidden > 10
    assert shown(made, width=120)[:3] == ["n7", "n8", "n9"]
    window(made, width=120).scroll(1)
    assert shown(made, width=120)[:2] == ["n8", "n9"]
    made = conversation(*NUMBERS)
    window(made).scroll(-100)
    assert shown(made, height=8) == ["day", "n0", "n1", "n2", "n3", "n4", "n5", "n6"]
    assert shown(made, height=80)[-1] == "n9"
    assert made.at_end


def test_days_are_separated() -> None:
    made = Conversation(("bob",))
    for number, minutes in enumerate((0, 1, 24 * 60, 24 * 60 + 1)):
        text = f"n{number}"
        made.add(Entry.of(message(text, offset=number + 1, minutes=minutes), "alice"))
    rows = plain(window(made, height=10).rows())
    assert "Sunday, 2026-11-22" in rows[0]
    assert "Monday, 2026-11-23" in rows[3]
    assert len(rows) == 6


def test_the_separator_above_new_messages() -> None:
    made = conversation("n0", "n1", "n2")
    made.new_from = made.entries[1]
    assert " new " in plain(window(made, height=10).rows())[2]
    made.new_from = made.entries[0]
    # There is no entry above it.
    assert not any(" new " in row for row in plain(window(made, height=10).rows()))
