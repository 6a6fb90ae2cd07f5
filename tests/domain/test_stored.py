"""Runs of stored messages, and pages of them, against the messages one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.domain.batch import Page
from chat_protocol.domain.stored import Stored, StoredRun
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Deliver, Message, Scope

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=6)
NAMES = st.sampled_from(["bob", "zoë", "日本語"])
TIME = 2**64 - 5


def messages(offset: int, sender: str, recipient: str, texts: list[str]) -> list[Stored]:
    return [
        Stored(number, sender, TIME, text.encode(), Scope.USERS, (recipient,))
        for number, text in enumerate(texts, offset)
    ]


def run(offset: int, sender: str, recipient: str, texts: list[str]) -> StoredRun:
    frames = [encode(Message(text, sender, recipient, TIME)) for text in texts]
    return StoredRun(offset, sender, recipient, frames)


@given(NAMES, NAMES, TEXTS, st.integers(0, 9), st.integers(0, 9))
def test_a_run_is_its_messages(
    sender: str, recipient: str, texts: list[str], begin: int, end: int
) -> None:
    whole, single = run(3, sender, recipient, texts), messages(3, sender, recipient, texts)
    assert whole.messages() == single
    assert whole.end == single[-1].end
    assert whole.size == sum(one.size for one in single)
    assert (whole.to, whole.scope) == (single[0].to, single[0].scope)
    assert whole.between(begin, end).messages() == [
        one for one in single if begin <= one.offset < end
    ]


@given(NAMES, NAMES, TEXTS)
def test_a_run_is_delivered_as_its_messages_are(
    sender: str, recipient: str, texts: list[str]
) -> None:
    delivers = [
        encode(Deliver(offset, text, sender, Scope.USERS, (recipient,), TIME))
        for offset, text in enumerate(texts, 3)
    ]
    assert run(3, sender, recipient, texts).deliver_frames() == delivers
    single = messages(3, sender, recipient, texts)
    assert [frame for one in single for frame in one.deliver_frames()] == delivers


@given(
    st.lists(st.tuples(TEXTS, st.booleans()), max_size=5), st.integers(-1, 12), st.integers(1, 800)
)
def test_a_page_ends_where_it_is_full(
    parts: list[tuple[list[str], bool]], count: int, size: int
) -> None:
    page, expected, complete, offset = Page(1, 0, count, size), list[Stored](), True, 1
    for texts, as_run in parts:
        single = messages(offset, "alice", "zoë", texts)
        added = [page.add(run(offset, "alice", "zoë", texts))] if as_run else map(page.add, single)
        if not all(added):
            break
        offset += len(texts)
    offset = 1
    for texts, _ in parts:
        for one in messages(offset, "alice", "zoë", texts):
            if len(expected) >= count or sum(before.size for before in expected) >= size:
                complete = False
                break
            expected.append(one)
        offset += len(texts)
        if not complete:
            break
    assert page.messages == expected
    assert page.count == len(expected)
    assert page.complete is complete
    page.clear()
    assert (page.messages, page.count, page.complete) == ([], 0, True)
