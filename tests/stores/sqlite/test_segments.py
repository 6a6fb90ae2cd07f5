"""Segments: what is packed is what is unpacked, whole and in part."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.domain.entries import Entry
from chat_protocol.stores.sqlite import segments
from chat_protocol.stores.sqlite.damage import checksum
from chat_protocol.stores.sqlite.segments import (
    SEGMENT_BYTES,
    Kind,
    SegmentWriter,
    end_of,
    entries_between,
    pack_deleted,
    pack_messages,
    pack_positions,
    positions_of,
    recipients_of,
    records_of,
)
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Message
from tests.stores.helpers import singles

NAMES = ["anna", "bert", "zoë", "日本語"]
DEVICES = {0: "", 1: "phone", 2**32 - 1: "laptop"}


class Sent(NamedTuple):
    """Messages to be packed."""

    sender: int
    device: int
    to: list[int]
    texts: list[str]
    publishing_id: int


SENT = st.builds(
    Sent,
    st.integers(0, 3),
    st.sampled_from(list(DEVICES)),
    st.lists(st.integers(0, 3), unique=True),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=4),
    st.integers(0, 2**63 - 1),
)
POSITIONS = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(list(DEVICES)), st.integers(0, 2**63 - 1)),
    min_size=1,
)


def device_name(user: int, device: int) -> str:
    assert device, "the unnamed device is not looked up"
    return f"{NAMES[user]}'s {DEVICES[device]}"


def entry_of(sent: Sent, offset: int) -> Entry:
    sender, to = NAMES[sent.sender], tuple(NAMES[one] for one in sent.to)
    tail = to[0] if len(to) == 1 else ""
    frames = [encode(Message(text, sender, tail, 2**64 - 1)) for text in sent.texts]
    device = device_name(sent.sender, sent.device) if sent.device else ""
    return Entry(offset, sender, device, 0 if to else 1, to, frames)


@given(
    st.lists(st.one_of(SENT, POSITIONS, st.integers(1, 5)), min_size=1, max_size=8),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_records_are_what_was_packed(
    parts: list[Sent | list[tuple[int, int, int]] | int], begin: int, end: int
) -> None:
    data, offset, entries = b"", 7, list[Entry]()
    for part in parts:
        if isinstance(part, Sent):
            entry = entry_of(part, offset)
            data += pack_messages(entry, part.sender, part.device, part.to, part.publishing_id)
            entries.append(entry)
            offset = entry.end
        elif isinstance(part, int):
            data += pack_deleted(part)
            offset += part
        else:
            data += pack_positions(part)
    records = list(records_of(7, data))
    for record, part in zip(records, parts, strict=True):
        if isinstance(part, Sent):
            assert record.kind == Kind.MESSAGES
            assert record.publishing_id == part.publishing_id
            assert (record.sender, record.device) == (part.sender, part.device)
            assert recipients_of(record, data) == tuple(part.to)
            assert record.messages == len(part.texts)
        elif isinstance(part, int):
            assert (record.kind, record.messages) == (Kind.DELETED, part)
        else:
            assert record.kind == Kind.POSITIONS
            assert positions_of(record, data) == part
    assert end_of(7, data) == offset
    assert list(entries_between(7, data, 0, 2**63, device_name)) == entries
    found = singles(entries_between(7, data, begin, end, device_name))
    assert found == [one for one in singles(entries) if begin <= one.offset < end]


@pytest.mark.parametrize("by", [1, -1])
def test_damage_is_noticed(by: int) -> None:
    entry = entry_of(Sent(0, 0, [1, 2], ["hello", "there"], 5), 7)
    data = bytearray(pack_messages(entry, 0, 0, [1, 2], 5))
    # The last byte of the length of the last frame.
    data[-len(entry.frames[1]) + 3] += by
    with pytest.raises(ValueError, match="longer or shorter"):
        list(entries_between(7, bytes(data), 0, 2**63, device_name))


def test_offsets_follow_each_other_and_a_segment_has_its_own_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 10)
    writer = SegmentWriter(100)
    assert writer.draw(3) == 101
    writer.add(b"three")
    writer.add(b"positions")
    assert writer.rows() == [(101, b"threepositions", checksum(b"threepositions"))]
    # The segment is full; one without messages uses up an offset.
    writer.end_segment()
    writer.add(b"positions only")
    assert writer.draw(2) == 105
    writer.add(b"two")
    assert writer.rows() == [
        (104, b"positions only", checksum(b"positions only")),
        (105, b"two", checksum(b"two")),
    ]
    writer.add(b"more")
    assert writer.rows() == [(105, b"more", checksum(b"twomore"))]
    assert writer.last_offset == 106


def test_a_segment_of_positions_is_ended_as_well() -> None:
    writer = SegmentWriter(0)
    for offset in range(1, 1000):
        writer.add_positions([(7, 0, offset)])
    rows = writer.rows()
    assert len(rows) > 3
    assert all(len(records) < 2 * SEGMENT_BYTES for _, records, _ in rows)
    assert len({first for first, _, _ in rows}) == len(rows)
