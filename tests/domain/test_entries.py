"""Entries, and pages of them, against their messages one by one."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.queries import Conversation, Page
from chat_protocol.wire.codec import decode, encode
from chat_protocol.wire.commands import Deliver, Message, Scope

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=6)
NAME = st.sampled_from(["bob", "zoë", "日本語"])
TO = st.lists(NAME, unique=True, max_size=3).map(tuple)
TIME = 2**64 - 5


class One(NamedTuple):
    """A message of an entry."""

    offset: int
    sender: str
    device: str
    to: tuple[str, ...]
    text: str
    time: int


def entry(offset: int, sender: str, to: tuple[str, ...], texts: list[str]) -> Entry:
    tail = to[0] if len(to) == 1 else ""
    frames = [encode(Message(text, sender, tail, TIME)) for text in texts]
    return Entry(offset, sender, "phone", scope_of(to), to, frames)


def scope_of(to: tuple[str, ...]) -> int:
    return Scope.USERS if to else Scope.EVERYONE


def ones(*entries: Entry) -> list[One]:
    found = []
    for one in entries:
        for offset, frame in enumerate(one.frames, one.offset):
            message = decode(frame[4:])[1]
            assert isinstance(message, Message)
            assert message.from_ == one.sender
            assert message.to == (one.to[0] if len(one.to) == 1 else "")
            found.append(One(offset, one.sender, one.device, one.to, message.message, message.time))
    return found


@given(NAME, TO, TEXTS, st.integers(0, 9), st.integers(0, 9))
def test_an_entry_is_its_messages(
    sender: str, to: tuple[str, ...], texts: list[str], begin: int, end: int
) -> None:
    whole = entry(3, sender, to, texts)
    single = [entry(offset, sender, to, [text]) for offset, text in enumerate(texts, 3)]
    assert ones(whole) == ones(*single)
    assert whole.end == single[-1].end
    assert whole.size == sum(one.size for one in single)
    assert whole.texts() == [text.encode() for text in texts]
    assert ones(whole.between(begin, end)) == [
        one for one in ones(whole) if begin <= one.offset < end
    ]


@given(NAME, TO, TEXTS)
def test_its_size_is_about_that_on_the_wire(
    sender: str, to: tuple[str, ...], texts: list[str]
) -> None:
    size = entry(3, sender, to, texts).size
    assert abs(size - len(entry(3, sender, to, texts).delivers())) <= 30 * len(texts)


@given(NAME, NAME, TO, TEXTS, st.booleans())
def test_it_is_delivered_as_its_messages_are(
    sender: str, recipient: str, to: tuple[str, ...], texts: list[str], known: bool
) -> None:
    if to and recipient not in to:
        to += (recipient,)
    whole = entry(3, sender, to, texts)
    # The session knows the texts of all messages, of which the entry has the accepted ones.
    given_texts = [text.encode() for text in [*texts, "refused"]] if known else None
    assert whole.delivers(given_texts) == b"".join(
        encode(Deliver(offset, text, sender, scope_of(to), to, TIME))
        for offset, text in enumerate(texts, 3)
    )
    assert whole.messages_for(recipient) == [
        encode(Message(text, sender, recipient, TIME)) for text in texts
    ]


@given(st.lists(st.tuples(TO, TEXTS), max_size=5), st.integers(-1, 12), st.integers(1, 800))
def test_a_page_ends_where_it_is_full(
    parts: list[tuple[tuple[str, ...], list[str]]], count: int, size: int
) -> None:
    page, offset = Page(1, 0, count, size), 1
    for to, texts in parts:
        if not page.add(entry(offset, "alice", to, texts)):
            break
        offset += len(texts)
    expected, complete, offset = list[Entry](), True, 1
    for to, texts in parts:
        for text in texts:
            if len(expected) >= count or sum(before.size for before in expected) >= size:
                complete = False
                break
            expected.append(entry(offset, "alice", to, [text]))
            offset += 1
        if not complete:
            break
    assert ones(*page.entries) == ones(*expected)
    assert page.count == len(expected)
    assert page.complete is complete
    page.clear()
    assert (page.entries, page.count, page.complete) == ([], 0, True)


@given(st.lists(st.tuples(TO, TEXTS), max_size=5), st.integers(1, 12), st.integers(1, 800))
def test_a_conversation_has_the_newest_that_fit(
    parts: list[tuple[tuple[str, ...], list[str]]], limit: int, size: int
) -> None:
    asked, offset = Conversation(1, 2, 0, limit, size), 1
    given_entries = []
    for to, texts in parts:
        given_entries.append(entry(offset, "alice", to, texts))
        offset += len(texts)
    more = True
    for one in reversed(given_entries):
        more = asked.add(one)
        if not more:
            break
    expected: list[Entry] = []
    left = size
    singles = [
        whole.between(offset, offset + 1)
        for whole in given_entries
        for offset in range(whole.offset, whole.end)
    ]
    for single in reversed(singles):
        left -= single.size
        if len(expected) == limit or (expected and left < 0):
            break
        expected.insert(0, single)
    assert ones(*asked.entries) == ones(*expected)
    if more:
        assert asked.entries == given_entries
    asked.clear()
    assert asked.entries == []
