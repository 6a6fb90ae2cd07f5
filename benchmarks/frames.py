"""Frames to send and frames to expect, encoded in advance.

A stream repeats after CYCLE frames of the same size. Therefore the number of received bytes is the
position in the stream, and a check is a comparison of bytes. It detects frames that are lost,
duplicated, reordered or altered, except a multiple of CYCLE consecutive frames, which the count
detects.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from chat_protocol.wire.codec import MIN_FRAME, decode, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    Deliver,
    Login,
    Login2,
    Message,
    Publish,
    Response,
    Response2,
    Scope,
)

__all__ = [
    "CYCLE",
    "OFFSET",
    "PUBLISHING_ID",
    "CheckFailed",
    "Expected",
    "Stream",
    "Traffic",
    "ack",
    "login",
    "login_answer",
    "messages",
    "publications",
    "stream_of",
    "text_of",
]

CYCLE = 256
"""Number of frames after which a stream repeats. It exceeds the window of every load, and the
number of a frame fits the last byte of a publishing id."""

PUBLISHING_ID = slice(11, 19)
"""Position of the publishing id in a Publish frame."""

OFFSET = slice(11, 19)
"""Position of the offset in a Deliver frame."""

_TIME = 1_700_000_000


class CheckFailed(Exception):
    """The server violated the protocol, so that its figures would be meaningless."""


class Stream(NamedTuple):
    """A repeating sequence of frames of the same size."""

    cycle: bytes
    size: int
    """Size of a frame in bytes."""


class Traffic(NamedTuple):
    """The requests of a sender, the answers to them, and the deliveries to the recipient."""

    requests: Stream
    answers: Stream
    deliveries: Stream


def stream_of(frames: list[bytes]) -> Stream:
    """Return the stream of frames of the same size."""
    sizes = {len(frame) for frame in frames}
    assert len(sizes) == 1, "the frames of a stream must have the same size"
    return Stream(b"".join(frames), sizes.pop())


def text_of(index: int, number: int, size: int) -> str:
    """Return a text that identifies the sender by its first character, then the frame."""
    letter = chr(ord("a") + number % 26)
    return f"{chr(33 + index % 94)}{number:03d}".ljust(size, letter)[:size]


@lru_cache
def _answers(version: int) -> Stream:
    answer = Response(Code.OK) if version == 1 else Response2(Code.OK)
    return stream_of([encode(answer, number + 1, version) for number in range(CYCLE)])


def messages(index: int, sender: str, recipient: str, size: int) -> Traffic:
    """Return the version 1 traffic from one user to another.

    Args:
        index: number of the sender among the senders to one recipient, below 94.
        size: size of the text in bytes, at least 4.
    """
    made = [Message(text_of(index, n, size), sender, recipient, _TIME + n) for n in range(CYCLE)]
    return Traffic(
        stream_of([encode(message, n + 1, 1) for n, message in enumerate(made)]),
        _answers(1),
        stream_of([encode(message, 0, 1) for message in made]),
    )


def publications(index: int, sender: str, recipient: str, size: int) -> Traffic:
    """Return the version 2 traffic from one user to another.

    The last byte of a publishing id is the number of the frame in the cycle. The sender must set
    the other bytes (PUBLISHING_ID), and the recipient must set the offset (OFFSET) to 0 before the
    comparison.
    """
    made = [(text_of(index, n, size), _TIME + n) for n in range(CYCLE)]
    to = (recipient,)
    return Traffic(
        stream_of(
            [
                encode(Publish(n, text, Scope.USERS, to, time), n + 1)
                for n, (text, time) in enumerate(made)
            ]
        ),
        _answers(2),
        stream_of([encode(Deliver(0, text, sender, Scope.USERS, to, time)) for text, time in made]),
    )


def login(name: str, version: int = 1) -> bytes:
    """Return a Login frame with correlationId 1."""
    return encode(Login(name) if version == 1 else Login2(name), 1, version)


def login_answer() -> bytes:
    """Return the answer to a successful version 1 login."""
    return encode(Response(Code.OK), 1)


def ack(offset: int) -> bytes:
    """Return an Ack frame."""
    return encode(Ack(offset))


@lru_cache
def _repeated(cycle: bytes, least: int) -> bytes:
    return cycle * (1 + -(-least // len(cycle)))


class Expected:
    """Compares received bytes with the expected stream.

    Args:
        label: names the stream in errors.
        largest: maximum size of a piece in bytes.
    """

    __slots__ = ("_bytes", "_label", "_length", "_position", "count", "received", "size")

    def __init__(self, stream: Stream, label: str, largest: int) -> None:
        self._bytes = _repeated(stream.cycle, largest)
        self._length = len(stream.cycle)
        self._position = 0
        self._label = label
        self.size = stream.size
        self.received = 0
        """Number of received bytes."""
        self.count = 0
        """Number of received complete frames."""

    def take(self, piece: memoryview) -> None:
        """Check the next bytes.

        Raises:
            CheckFailed: they differ from the stream.
        """
        if not self._bytes.startswith(piece, self._position):
            raise CheckFailed(self._difference(bytes(piece)))
        received = self.received = self.received + len(piece)
        self._position = received % self._length
        self.count = received // self.size

    def _difference(self, piece: bytes) -> str:
        wanted = self._bytes[self._position : self._position + len(piece)]
        first = next(n for n, (a, b) in enumerate(zip(piece, wanted, strict=True)) if a != b)
        frame = (self.received + first) // self.size * self.size - self.received
        return (
            f"{self._label}: frame {(self.received + first) // self.size} is"
            f" {_describe(piece[max(frame, 0) : frame + self.size])}, expected"
            f" {_describe(wanted[max(frame, 0) : frame + self.size])}"
        )


def _describe(frame: bytes) -> str:
    if len(frame) >= 4 + MIN_FRAME and len(frame) == 4 + int.from_bytes(frame[:4], "big"):
        try:
            header, command = decode(frame[4:])
            return f"{command} with correlationId {header.correlation_id}"
        except Exception as error:
            return f"{frame.hex()} ({error})"
    return frame.hex()
