"""The screen model: conversations, unread counts, presence and the bell."""

from __future__ import annotations

from chat_protocol.cli.screen.conversations import EVERYONE, HOME
from chat_protocol.cli.screen.entries import EntryKind
from chat_protocol.cli.screen.model import (
    BELL_INTERVAL,
    IDLE_AFTER,
    MAX_CONVERSATIONS,
    MAX_PRESENCE,
    Paste,
)
from tests.cli.screen.samples import Sample, message, timestamp


def titles(sample: Sample) -> list[str]:
    return [sample.model.title(conversation) for conversation in sample.model.conversations]


def test_a_message_opens_its_conversation_as_unread() -> None:
    sample = Sample()
    model = sample.model
    model.receive(message("hi", offset=1))
    model.receive(message("both", to=["alice", "carol c"], offset=2))
    model.receive(message("all", everyone=True, to=[], offset=3))
    assert titles(sample) == ["chat", "bob", 'bob, "carol c"', "everyone"]
    assert [conversation.unread for conversation in model.conversations] == [0, 1, 1, 1]
    assert model.unread == 3
    assert model.current.partners == HOME
    assert model.show_number(2)
    assert model.current.entries[0].text == "hi"
    assert model.unread == 2
    assert not model.show_number(5)
    assert not model.show_number(0)


def test_visible_messages_are_read() -> None:
    model = Sample().model
    model.show(model.open(("bob",)))
    model.receive(message("hi", offset=1))
    assert model.unread == 0
    # A message below the visible part is unread.
    model.current.bottom, model.current.rows_hidden = model.current.entries[0], 0
    model.receive(message("more", offset=2))
    assert (model.current.unread, model.current.new_below) == (1, 1)
    # Returning to the scrolled position does not show the end.
    conversation = model.current
    model.show(model.conversations[0])
    model.show(conversation)
    assert conversation.unread == 1


def test_the_first_unread_message_is_marked_until_the_conversation_is_left() -> None:
    model = Sample().model
    for offset in (1, 2):
        model.receive(message(f"n{offset}", offset=offset))
    conversation = model.conversations[1]
    model.show(conversation)
    assert conversation.new_from is conversation.entries[0]
    model.show(model.conversations[0])
    assert conversation.new_from is None


def test_a_message_loaded_from_history_first_is_still_unread() -> None:
    model = Sample().model
    conversation = model.open(("bob",))
    assert model.add_history(conversation, [message("hi", offset=1)]) == 1
    assert conversation.unread == 0
    model.receive(message("hi", offset=1))
    assert (conversation.unread, len(conversation.entries)) == (1, 1)
    assert conversation.new_from is conversation.entries[0]


def test_an_own_message_is_not_unread() -> None:
    model = Sample().model
    conversation = model.open(("alice",))
    own = model.add_outgoing(conversation, "note", timestamp())
    model.receive(message("note", sender="alice", to=["alice"], offset=1))
    assert conversation.entries == [own]
    assert model.unread == 0


def test_the_outcome_of_an_own_message() -> None:
    model = Sample().model
    conversation = model.open(("bob",))
    model.show(conversation)
    one, two, three = (
        model.add_outgoing(conversation, text, timestamp(n)) for n, text in enumerate("abc")
    )
    model.finish_outgoing(conversation, one, None)
    model.finish_outgoing(conversation, two, "the mailbox is full")
    assert (one.kind, two.kind, three.kind) == (
        EntryKind.STORED,
        EntryKind.FAILED,
        EntryKind.SENDING,
    )
    assert two.reason == "the mailbox is full"
    assert conversation.unread == 0
    # History has already shown that it is stored.
    model.finish_outgoing(conversation, one, "no answer")
    assert one.kind is EntryKind.STORED
    model.show(model.conversations[0])
    model.finish_outgoing(conversation, three, "refused")
    assert conversation.unread == 1


def test_switching_conversations() -> None:
    model = Sample().model
    for name in ("bob", "carol", "dave"):
        model.open((name,))
    model.step(-1)
    assert model.current.partners == ("dave",)
    model.step(1)
    assert model.current.partners == HOME
    model.receive(message("hi", sender="carol", offset=1))
    model.next_unread()
    assert model.current.partners == ("carol",)
    # No other conversation has unread messages: go back.
    model.next_unread()
    assert model.current.partners == HOME


def test_closing_conversations() -> None:
    model = Sample().model
    everyone = model.open(EVERYONE)
    bob, carol = model.open(("bob",)), model.open(("carol",))
    model.show(bob)
    model.show(carol)
    assert model.close(carol)
    assert model.current is bob
    assert model.close(bob)
    assert model.current is everyone
    assert not model.close(everyone)
    assert not model.close(model.conversations[0])
    # A closed conversation is opened as a new one.
    assert model.open(("bob",)) is not bob


def test_the_number_of_conversations_is_limited() -> None:
    sample = Sample()
    model = sample.model
    mine = model.open(("bob",))
    model.add_outgoing(mine, "on its way", timestamp())
    read = model.open(("carol",))
    for number in range(2 * MAX_CONVERSATIONS):
        model.receive(message("hi", sender=f"s{number:04}", offset=number + 1))
    assert len(model.conversations) == MAX_CONVERSATIONS
    assert mine in model.conversations
    assert read not in model.conversations
    newest = [conversation.partners[0] for conversation in model.conversations[-3:]]
    assert newest == [f"s{2 * MAX_CONVERSATIONS - n:04}" for n in (3, 2, 1)]
    assert "too many conversations: closed s0000, 1 unread" in [
        one.text for one in model.conversations[0].entries
    ]


def test_presence() -> None:
    sample = Sample()
    model = sample.model
    model.set_presence("bob", True)
    model.set_presence("carol", False)
    model.set_presence("alice", True)
    assert model.presence == {"bob": True, "carol": False}
    model.presence_changed("bob", False)
    assert model.presence["bob"] is False
    for number in range(MAX_PRESENCE + 5):
        model.set_presence(f"p{number}", True)
    assert len(model.presence) == MAX_PRESENCE
    model.presence_changed("carol", True)
    assert model.presence["carol"] is True


def test_repeated_presence_changes_take_one_row() -> None:
    model = Sample().model
    conversation = model.open(("bob",))
    for _ in range(10):
        model.presence_changed("bob", True)
        model.presence_changed("bob", False)
    assert [one.text for one in conversation.entries] == ["bob went offline"]
    model.receive(message("hi", offset=1))
    model.presence_changed("bob", True)
    assert [one.text for one in conversation.entries][1:] == ["hi", "bob is online"]


def test_names_are_sorted_by_likelihood() -> None:
    model = Sample().model
    for name, online in (("ann", False), ("bob", True), ("cid", True)):
        model.set_presence(name, online)
    model.open(("dave", "eve"))
    model.show(model.open(("frank",)))
    assert model.names() == ["frank", "dave", "eve", "bob", "cid", "ann"]


def test_the_bell() -> None:
    sample = Sample()
    model = sample.model
    model.receive(message("hi", offset=1))
    assert sample.rings == 1
    model.receive(message("hi", offset=2))
    assert sample.rings == 1
    sample.clock.advance(BELL_INTERVAL)
    model.receive(message("hi", offset=3))
    assert sample.rings == 2
    # The visible conversation rings only if the user is idle.
    model.show(model.conversations[1])
    sample.clock.advance(BELL_INTERVAL)
    model.receive(message("hi", offset=4))
    assert sample.rings == 2
    sample.clock.advance(IDLE_AFTER + 1)
    model.receive(message("hi", offset=5))
    assert sample.rings == 3
    model.key_pressed()
    sample.clock.advance(BELL_INTERVAL)
    model.receive(message("hi", offset=6))
    assert sample.rings == 3
    model.bell = False
    sample.clock.advance(IDLE_AFTER + 1)
    model.receive(message("hi", offset=7))
    assert sample.rings == 3


def test_a_mailbox_rings_once() -> None:
    sample = Sample()
    model = sample.model
    model.pending = 100
    for offset in range(1, 101):
        sample.clock.advance(BELL_INTERVAL)
        model.receive(message("hi", offset=offset))
    assert model.pending == 0
    assert sample.rings == 1


def test_the_lines_of_a_paste() -> None:
    assert Paste("one\n\n  \n two ").lines == ["one", " two "]
