"""The fast path against the codec: it takes what it may, and makes the same bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.wire import codec
from chat_protocol.wire.bulk import MAX_ROUTE, scan_acks, scan_messages, scan_publishes
from chat_protocol.wire.commands import Ack, Deliver, Heartbeat, Login, Message, Publish
from chat_protocol.wire.frames import (
    encode_address,
    encode_deliver_route,
    encode_delivered,
    encode_delivers,
    encode_route,
)


class Audience(NamedTuple):
    """A Route: scope and recipients of a Publish."""

    scope: int
    to: tuple[str, ...]

    @property
    def tail(self) -> bytes:
        name = self.to[0].encode() if len(self.to) == 1 else b""
        return len(name).to_bytes(2, "big") + name


BOB, CAROL = Audience(0, ("bob",)), Audience(0, ("carol",))
BOTH, ALL = Audience(0, ("bob", "carol")), Audience(1, ())
ROUTES = {encode_route("älice", "bob"): BOB, encode_route("älice", "carol"): CAROL}
NAMES = {"bob": BOB, "carol": CAROL}
AUDIENCES = (BOB, CAROL, BOTH, ALL)

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
MESSAGES = st.builds(
    Message,
    TEXT,
    st.sampled_from(["älice", "älice", "mallory", ""]),
    st.sampled_from(["bob", "bob", "carol", "dave", ""]),
    st.integers(0, 2**64 - 1),
)
FRAMES = st.one_of(
    st.builds(codec.encode, MESSAGES, st.integers(0, 2**32 - 1)),
    st.builds(codec.encode, st.builds(Login, TEXT), st.integers(0, 2**32 - 1)),
)


def frames_of(data: bytes) -> list[bytes]:
    found = []
    position = 0
    while len(data) - position >= 4:
        length = int.from_bytes(data[position : position + 4], "big")
        if len(data) - position - 4 < length:
            break
        found.append(data[position : position + 4 + length])
        position += 4 + length
    return found


@given(st.lists(FRAMES, min_size=1, max_size=12), st.integers(0, 30))
def test_the_scan_takes_the_messages_with_one_route_in_front(frames: list[bytes], cut: int) -> None:
    data = b"".join(frames)
    data = data[: max(0, len(data) - cut)]
    scan = scan_messages(data, 0, ROUTES)

    expected: list[tuple[object, int, Message]] = []
    for frame in frames_of(data):
        header, command = codec.decode(frame[4:])
        if not isinstance(command, Message) or command.from_ != "älice":
            break
        recipient = NAMES.get(command.to)
        if recipient is None or (expected and recipient is not expected[0][0]):
            break
        expected.append((recipient, header.correlation_id, command))
    if not expected:
        assert scan is None
        return
    assert scan is not None
    assert scan.route is expected[0][0]
    assert scan.end == sum(len(frame) for frame in frames[: len(expected)])
    assert scan.correlation_ids == [one.to_bytes(4, "big") for _, one, _ in expected]
    assert scan.texts == [command.message.encode() for _, _, command in expected]
    assert scan.frames == [codec.encode(command, 0) for _, _, command in expected]


def test_what_has_another_route_is_taken_alone() -> None:
    texts = {"bob": ["1", "2"], "carol": ["3"]}
    data = b"".join(
        codec.encode(Message(text, "älice", to, 5), 1) for to in texts for text in texts[to]
    )
    position = 0
    for to, expected in texts.items():
        scan = scan_messages(data, position, ROUTES)
        assert scan is not None
        assert (scan.route, scan.texts) == (NAMES[to], [text.encode() for text in expected])
        position = scan.end
    assert position == len(data)


@given(MESSAGES, st.binary(min_size=1, max_size=9))
def test_a_message_with_bytes_behind_it_is_left_to_the_codec(message: Message, rest: bytes) -> None:
    payload = codec.encode(message, 1)[4:] + rest
    data = len(payload).to_bytes(4, "big") + payload
    assert scan_messages(data, 0, ROUTES) is None


@given(st.data())
def test_one_altered_byte_never_makes_the_scan_differ_from_the_codec(data: st.DataObject) -> None:
    frame = bytearray(codec.encode(Message("hällo", "älice", "bob", 5), 1))
    frame[data.draw(st.integers(4, len(frame) - 1))] = data.draw(st.integers(0, 255))
    scan = scan_messages(bytes(frame), 0, ROUTES)
    if scan is not None:
        _, command = codec.decode(bytes(frame[4:]))
        assert scan.frames == [codec.encode(command, 0)]
        assert (command.from_, command.to) == ("älice", "bob")


def test_text_that_is_not_utf8_is_left_to_the_codec() -> None:
    frame = codec.encode(Message("abc", "älice", "bob", 5), 1).replace(b"abc", b"a\xffc")
    assert scan_messages(frame, 0, ROUTES) is None


def test_other_versions_are_left_to_the_codec() -> None:
    frame = codec.encode(Message("abc", "älice", "bob", 5), 1)
    assert scan_messages(frame[:4] + b"\2" + frame[5:], 0, ROUTES) is None


@given(TEXT, st.integers(0, 2**64 - 1))
def test_a_delivered_message_is_the_frame_that_the_codec_makes(text: str, time: int) -> None:
    route = encode_route("älice", "bob")
    made = encode_delivered(text.encode(), route, time)
    assert made == codec.encode(Message(text, "älice", "bob", time), 0)


# Publishes and Acks.

ALICE = b"\0\6\xc3\xa4lice"
ADDRESSES = {encode_address(*one): one for one in AUDIENCES}
PUBLISHES = st.builds(
    Publish,
    st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1)),
    TEXT,
    st.sampled_from([0, 0, 0, 0, 1]),
    st.sampled_from(
        [("bob",), ("bob",), ("carol",), ("bob", "carol"), ("bob", "carol"), ("dave",), (), ()]
    ),
    st.integers(0, 2**64 - 1),
)


def _taken(frames: list[bytes], published: int) -> list[tuple[int, Publish]]:
    """The Publishes in front that may be taken, with their correlationIds."""
    taken: list[tuple[int, Publish]] = []
    for frame in frames_of(b"".join(frames)):
        header, command = codec.decode(frame[4:])
        if not isinstance(command, Publish) or Audience(command.scope, command.to) not in AUDIENCES:
            break
        publishing_id = command.publishing_id
        if taken:
            first = taken[0][1]
            expected = first.publishing_id + len(taken) if first.publishing_id else 0
            same = (command.scope, command.to) == (first.scope, first.to)
            if not same or publishing_id != expected:
                break
        elif 0 < publishing_id <= published:
            break
        taken.append((header.correlation_id, command))
    return taken


def named(publish: Publish) -> str:
    """The one recipient; empty if there are several, or all."""
    return publish.to[0] if len(publish.to) == 1 else ""


@given(st.lists(PUBLISHES, min_size=1, max_size=8), st.integers(0, 6), st.booleans())
def test_the_scan_takes_the_publishes_that_are_new(
    publishes: list[Publish], published: int, count_up: bool
) -> None:
    if count_up:
        publishes = [replace(one, publishing_id=n) for n, one in enumerate(publishes, 4)]
    frames = [codec.encode(one, 70 + n) for n, one in enumerate(publishes)]
    scan = scan_publishes(b"".join(frames) + b"\0\0", 0, published, ALICE, ADDRESSES)
    expected = _taken(frames, published)
    if not expected:
        assert scan is None
        return
    assert scan is not None
    commands = [command for _, command in expected]
    assert scan.route == Audience(commands[0].scope, commands[0].to)
    assert scan.end == sum(len(frame) for frame in frames[: len(expected)])
    assert scan.correlation_ids == [one.to_bytes(4, "big") for one, _ in expected]
    assert scan.texts == [command.message.encode() for command in commands]
    assert scan.publishing_id == commands[0].publishing_id
    assert scan.frames == [
        codec.encode(Message(one.message, "älice", named(one), one.time), 0) for one in commands
    ]


@given(st.data())
def test_one_altered_byte_never_makes_a_publish_differ_from_the_codec(data: st.DataObject) -> None:
    frame = bytearray(codec.encode(Publish(3, "hällo", 0, ("bob",), 5), 1))
    frame[data.draw(st.integers(4, len(frame) - 1))] = data.draw(st.integers(0, 255))
    scan = scan_publishes(bytes(frame), 0, 2, ALICE, ADDRESSES)
    if scan is not None:
        _, command = codec.decode(bytes(frame[4:]))
        assert scan.frames == [
            codec.encode(Message(command.message, "älice", named(command), command.time), 0)
        ]
        assert command.publishing_id == scan.publishing_id
        assert scan.route == Audience(command.scope, command.to)


def test_a_route_that_is_too_long_is_not_looked_up() -> None:
    long = Audience(0, ("b" * MAX_ROUTE,))
    publish = codec.encode(Publish(3, "hello", 0, long.to, 5), 1)
    assert scan_publishes(publish, 0, 0, ALICE, {encode_address(*long): long}) is None
    message = codec.encode(Message("hello", "älice", long.to[0], 5), 1)
    assert scan_messages(message, 0, {encode_route("älice", long.to[0]): long}) is None


@given(st.binary(min_size=1, max_size=9), st.integers(0, 40))
def test_a_publish_of_another_length_is_left_to_the_codec(rest: bytes, cut: int) -> None:
    payload = codec.encode(Publish(3, "hello", 0, ("bob",), 5), 1)[4:]
    for wrong in (payload + rest, payload[: len(payload) - 1 - cut]):
        data = len(wrong).to_bytes(4, "big") + wrong
        assert scan_publishes(data, 0, 0, ALICE, ADDRESSES) is None


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5), st.binary(max_size=30))
def test_acks_that_follow_each_other_say_the_highest(offsets: list[int], rest: bytes) -> None:
    acks = b"".join(codec.encode(Ack(offset), 9) for offset in offsets)
    behind = codec.encode(Heartbeat()) + rest
    assert scan_acks(b"x" + acks + behind, 1) == (1 + len(acks), max(offsets, default=0))
    if acks:
        assert scan_acks(acks[:-1], 0)[0] == len(acks) - 19


@given(
    st.lists(TEXT, min_size=1, max_size=4),
    st.integers(0, 2**63),
    st.integers(0, 2**64 - 1),
    st.sampled_from(AUDIENCES),
)
def test_messages_are_delivered_as_the_codec_writes_them(
    texts: list[str], offset: int, time: int, audience: Audience
) -> None:
    frames = encode_delivers(
        offset,
        [text.encode() for text in texts],
        encode_deliver_route("älice", encode_address(*audience)),
        [b"anything" + time.to_bytes(8, "big")] * len(texts),
    )
    assert frames == [
        codec.encode(Deliver(number, text, "älice", *audience, time), 0)
        for number, text in enumerate(texts, offset)
    ]
