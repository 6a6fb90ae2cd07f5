"""Conversations, what is unread in them, people, and the bell."""

from __future__ import annotations

from chat_protocol.cli.screen.conversations import EVERYONE, HOME
from chat_protocol.cli.screen.entries import Kind
from chat_protocol.cli.screen.model import AWAY, BELL_INTERVAL, MAX_PEOPLE, MAX_TALKS, Paste
from tests.cli.screen.samples import Sample, message, stamp


def titles(sample: Sample) -> list[str]:
    return [sample.model.title(talk) for talk in sample.model.talks]


def test_a_message_opens_its_conversation_and_is_unread_there() -> None:
    sample = Sample()
    model = sample.model
    model.arrived(message("hi", offset=1))
    model.arrived(message("both", to=["alice", "carol c"], offset=2))
    model.arrived(message("all", everyone=True, to=[], offset=3))
    assert titles(sample) == ["chat", "bob", 'bob, "carol c"', "everyone"]
    assert [talk.unread for talk in model.talks] == [0, 1, 1, 1]
    assert model.unread == 3
    assert model.current.partners == HOME
    assert model.show_number(2)
    assert model.current.entries[0].text == "hi"
    assert model.unread == 2
    assert not model.show_number(5)
    assert not model.show_number(0)


def test_what_is_looked_at_is_read() -> None:
    model = Sample().model
    model.show(model.open(("bob",)))
    model.arrived(message("hi", offset=1))
    assert model.unread == 0
    # Further up, it is not.
    model.current.bottom, model.current.hidden = model.current.entries[0], 0
    model.arrived(message("more", offset=2))
    assert (model.current.unread, model.current.below) == (1, 1)
    # To come back to that place is not to see the end.
    talk = model.current
    model.show(model.talks[0])
    model.show(talk)
    assert talk.unread == 1


def test_the_first_unread_message_is_marked_until_one_leaves() -> None:
    model = Sample().model
    for offset in (1, 2):
        model.arrived(message(f"n{offset}", offset=offset))
    talk = model.talks[1]
    model.show(talk)
    assert talk.new_from is talk.entries[0]
    model.show(model.talks[0])
    assert talk.new_from is None


def test_a_message_that_history_brought_first_is_still_new() -> None:
    model = Sample().model
    talk = model.open(("bob",))
    assert model.remembered(talk, [message("hi", offset=1)]) == 1
    assert talk.unread == 0
    model.arrived(message("hi", offset=1))
    assert (talk.unread, len(talk.entries)) == (1, 1)
    assert talk.new_from is talk.entries[0]


def test_an_own_message_that_arrives_is_no_news() -> None:
    model = Sample().model
    talk = model.open(("alice",))
    own = model.written(talk, "note", stamp())
    model.arrived(message("note", sender="alice", to=["alice"], offset=1))
    assert talk.entries == [own]
    assert model.unread == 0


def test_what_becomes_of_an_own_message() -> None:
    model = Sample().model
    talk = model.open(("bob",))
    model.show(talk)
    one, two, three = (model.written(talk, text, stamp(n)) for n, text in enumerate("abc"))
    model.settled(talk, one, None)
    model.settled(talk, two, "the mailbox is full")
    assert (one.kind, two.kind, three.kind) == (Kind.STORED, Kind.FAILED, Kind.SENDING)
    assert two.reason == "the mailbox is full"
    assert talk.unread == 0
    # History said already that it is stored.
    model.settled(talk, one, "no answer")
    assert one.kind is Kind.STORED
    model.show(model.talks[0])
    model.settled(talk, three, "refused")
    assert talk.unread == 1


def test_going_through_the_conversations() -> None:
    model = Sample().model
    for name in ("bob", "carol", "dave"):
        model.open((name,))
    model.step(-1)
    assert model.current.partners == ("dave",)
    model.step(1)
    assert model.current.partners == HOME
    model.arrived(message("hi", sender="carol", offset=1))
    model.next_unread()
    assert model.current.partners == ("carol",)
    # Nothing else is unread: back.
    model.next_unread()
    assert model.current.partners == HOME


def test_closing() -> None:
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
    assert not model.close(model.talks[0])
    # It opens again as a new one.
    assert model.open(("bob",)) is not bob


def test_strangers_cannot_open_conversations_without_end() -> None:
    sample = Sample()
    model = sample.model
    mine = model.open(("bob",))
    model.written(mine, "on its way", stamp())
    read = model.open(("carol",))
    for number in range(2 * MAX_TALKS):
        model.arrived(message("hi", sender=f"s{number:04}", offset=number + 1))
    assert len(model.talks) == MAX_TALKS
    assert mine in model.talks
    assert read not in model.talks
    newest = [talk.partners[0] for talk in model.talks[-3:]]
    assert newest == [f"s{2 * MAX_TALKS - n:04}" for n in (3, 2, 1)]
    assert "closed for others: s0000, 1 unread" in [one.text for one in model.talks[0].entries]


def test_people() -> None:
    sample = Sample()
    model = sample.model
    model.present("bob", True)
    model.present("carol", False)
    model.present("alice", True)
    assert model.people == {"bob": True, "carol": False}
    model.came_or_went("bob", False)
    assert model.people["bob"] is False
    for number in range(MAX_PEOPLE + 5):
        model.present(f"p{number}", True)
    assert len(model.people) == MAX_PEOPLE
    model.came_or_went("carol", True)
    assert model.people["carol"] is True


def test_who_comes_and_goes_takes_one_row() -> None:
    model = Sample().model
    talk = model.open(("bob",))
    for _ in range(10):
        model.came_or_went("bob", True)
        model.came_or_went("bob", False)
    assert [one.text for one in talk.entries] == ["bob has left"]
    model.arrived(message("hi", offset=1))
    model.came_or_went("bob", True)
    assert [one.text for one in talk.entries][1:] == ["hi", "bob is here"]


def test_names_the_likeliest_first() -> None:
    model = Sample().model
    for name, online in (("ann", False), ("bob", True), ("cid", True)):
        model.present(name, online)
    model.open(("dave", "eve"))
    model.show(model.open(("frank",)))
    assert model.names() == ["frank", "dave", "eve", "bob", "cid", "ann"]


def test_the_bell() -> None:
    sample = Sample()
    model = sample.model
    model.arrived(message("hi", offset=1))
    assert sample.rings == 1
    model.arrived(message("hi", offset=2))
    assert sample.rings == 1
    sample.clock.advance(BELL_INTERVAL)
    model.arrived(message("hi", offset=3))
    assert sample.rings == 2
    # What one looks at does not ring, unless one is away.
    model.show(model.talks[1])
    sample.clock.advance(BELL_INTERVAL)
    model.arrived(message("hi", offset=4))
    assert sample.rings == 2
    sample.clock.advance(AWAY + 1)
    model.arrived(message("hi", offset=5))
    assert sample.rings == 3
    model.key_pressed()
    sample.clock.advance(BELL_INTERVAL)
    model.arrived(message("hi", offset=6))
    assert sample.rings == 3
    model.bell = False
    sample.clock.advance(AWAY + 1)
    model.arrived(message("hi", offset=7))
    assert sample.rings == 3


def test_a_full_mailbox_rings_once() -> None:
    sample = Sample()
    model = sample.model
    model.catching_up = 100
    for offset in range(1, 101):
        sample.clock.advance(BELL_INTERVAL)
        model.arrived(message("hi", offset=offset))
    assert model.catching_up == 0
    assert sample.rings == 1


def test_the_lines_of_a_paste() -> None:
    assert Paste("one\n\n  \n two ").lines == ["one", " two "]
