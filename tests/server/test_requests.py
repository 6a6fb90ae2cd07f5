"""Answers that are written as their messages are stored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.domain.entries import Entry
from chat_protocol.server.requests import ANSWER_BYTES, history_answer
from chat_protocol.wire.codec import decode, encode, encode_body
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import HistoryAnswer, StoredMessage
from tests.domain.test_entries import NAME, TEXTS, TIME, TO, entry, scope_of


@given(st.lists(st.tuples(NAME, TO, TEXTS), max_size=5))
def test_history_is_answered_as_the_codec_writes_it(
    parts: list[tuple[str, tuple[str, ...], list[str]]],
) -> None:
    entries: list[Entry] = []
    messages: list[StoredMessage] = []
    for sender, to, texts in parts:
        entries.append(entry(len(messages) + 1, sender, to, texts))
        for text in texts:
            offset = len(messages) + 1
            messages.append(StoredMessage(offset, text, sender, scope_of(to), to, TIME))
    written = encode_body(HistoryAnswer, history_answer(entries), 7)
    assert written == encode(HistoryAnswer(Code.OK, "", tuple(messages)), 7)


def test_an_answer_ends_with_the_newest_that_fits() -> None:
    texts = ["x" * 60_000] * 3 + ["y" * 60_000] * 2
    for size, fits in ((60_000, 4), (65_000, 4), (1, 5)):
        entries = [entry(1, "alice", ("bob",), [text[:size] for text in texts])]
        frame = encode_body(HistoryAnswer, history_answer(entries))
        assert len(frame) <= ANSWER_BYTES + 20
        _, answer = decode(frame[4:])
        assert [one.offset for one in answer.messages] == list(range(6 - fits, 6))
