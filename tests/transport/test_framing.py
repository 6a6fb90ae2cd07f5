"""FrameReceiver against the receiver it stands in for."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import Int32StringReceiver

from chat_protocol.transport.framing import FrameReceiver


class Original(Int32StringReceiver):
    MAX_LENGTH = 50

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.exceeded: list[int] = []

    def stringReceived(self, string: bytes) -> None:
        self.payloads.append(string)

    def lengthLimitExceeded(self, length: int) -> None:
        self.exceeded.append(length)


class Ours(FrameReceiver):
    MAX_LENGTH = 50

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.exceeded: list[int] = []
        self.pause_at = -1

    def stringReceived(self, string: bytes) -> None:
        self.payloads.append(string)
        if len(self.payloads) == self.pause_at:
            self.pauseProducing()

    def lengthLimitExceeded(self, length: int) -> None:
        self.exceeded.append(length)


def framed(payloads: list[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(one)) + one for one in payloads)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


PAYLOADS = st.lists(st.binary(min_size=7, max_size=50), max_size=8)
CUTS = st.lists(st.integers(0, 400), max_size=10)


def made() -> Ours:
    ours = Ours()
    ours.makeConnection(StringTransport())
    return ours


@given(PAYLOADS, CUTS, st.sampled_from([None, 51, 2**31, 2**32 - 1]))
def test_it_receives_what_the_original_receives(
    payloads: list[bytes], cuts: list[int], bad: int | None
) -> None:
    data = framed(payloads)
    if bad is not None:
        data += struct.pack(">I", bad)
    original, ours = Original(), made()
    original.makeConnection(StringTransport())
    for piece in split(data, cuts):
        original.dataReceived(piece)
        ours.dataReceived(piece)
        if original.exceeded:
            # From here on the original would repeat itself.
            break
    assert ours.payloads == original.payloads == payloads
    assert ours.exceeded == original.exceeded == ([bad] if bad is not None else [])


@given(PAYLOADS, CUTS, st.integers(1, 8))
def test_nothing_is_received_while_paused_and_nothing_lost(
    payloads: list[bytes], cuts: list[int], pause_at: int
) -> None:
    ours = made()
    ours.pause_at = pause_at
    for piece in split(framed(payloads), cuts):
        ours.dataReceived(piece)
    assert ours.payloads == payloads[:pause_at]
    ours.resumeProducing()
    assert ours.payloads == payloads


@pytest.mark.parametrize("length", [0, 1, 6])
def test_a_payload_shorter_than_a_header_is_out_of_bounds(length: int) -> None:
    ours = made()
    ours.dataReceived(struct.pack(">I", length) + bytes(30))
    assert ours.exceeded == [length]
    ours.dataReceived(framed([b"1234567"]))
    assert ours.payloads == []


def test_many_pieces_of_one_frame_are_not_joined_each_time() -> None:
    ours = made()
    ours.MAX_LENGTH = 1 << 20
    data = framed([bytes(1 << 20)])
    ours.dataReceived(data[:10])
    buffer = ours._partial
    for start in range(10, len(data) - 1, 1000):
        ours.dataReceived(data[start : min(start + 1000, len(data) - 1)])
        assert ours._partial is buffer
    ours.dataReceived(data[-1:])
    assert ours.payloads == [bytes(1 << 20)]


class Greedy(Ours):
    """Takes two frames at a time where it can."""

    def frames_received(self, data: bytes, position: int) -> int:
        stop = position
        for _ in range(2):
            if len(data) - stop < 4:
                return position
            stop += 4 + int.from_bytes(data[stop : stop + 4], "big")
        if stop > len(data):
            return position
        self.payloads.append(data[position:stop])
        return stop


def test_a_subclass_may_take_several_frames_at_once() -> None:
    ours = Greedy()
    ours.makeConnection(StringTransport())
    one, two, three = (struct.pack(">I", 7) + bytes([n]) * 7 for n in range(3))
    ours.dataReceived(one + two + three)
    assert ours.payloads == [one + two, three[4:]]


def test_without_an_override_a_length_out_of_bounds_ends_the_connection() -> None:
    received: list[bytes] = []

    class Plain(FrameReceiver):
        def stringReceived(self, string: bytes) -> None:
            received.append(string)

    plain, transport = Plain(), StringTransport()
    plain.makeConnection(transport)
    plain.dataReceived(b"\0\0\0\7payload\0\0\0\6behind\0\0\0\7payload")
    assert received == [b"payload"]
    assert transport.disconnecting
