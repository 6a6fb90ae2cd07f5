"""The bytes that are sent and those that must come back, made beforehand.

A stream repeats after CYCLE frames, all of one size. So a position in it is the number of bytes
that went by, and to check whatever came in is to compare bytes. What is lost, doubled, out of
order or altered shows, unless it is a multiple of CYCLE frames in a row: that shows in the count.
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
    "Expected",
    "Failed",
    "Stream",
    "Traffic",
    "ack",
    "login",
    "login_answer",
    "messages",
    "publications",
]

CYCLE = 256
"""Frames after which a stream repeats: more than any window, and a byte of a publishing id."""

PUBLISHING_ID = slice(11, 19)
"""Where a Publish has its publishing id."""

OFFSET = slice(11, 19)
"""Where a Deliver has its offset."""

_TIME = 1_700_000_000


class Failed(Exception):
    """The server did not do what the protocol demands; a figure would mean nothing."""


class Stream(NamedTuple):
    """Frames of one size, again and again."""

    cycle: bytes
    size: int
    """Bytes of one frame."""


class Traffic(NamedTuple):
    """What one user sends to another, and what comes of it."""

    requests: Stream
    answers: Stream
    deliveries: Stream


def _stream(frames: list[bytes]) -> Stream:
    sizes = {len(frame) for frame in frames}
    assert len(sizes) == 1, "the frames of a stream have one size"
    return Stream(b"".join(frames), sizes.pop())


def _text(index: int, number: int, size: int) -> str:
    """A character for the sender, the number in the cycle, and letters that depend on it."""
    letter = chr(ord("a") + number % 26)
    return f"{chr(33 + index % 94)}{number:03d}".ljust(size, letter)[:size]


@lru_cache
def _answers(version: int) -> Stream:
    answer = Response(Code.OK) if version == 1 else Response2(Code.OK)
    return _stream([encode(answer, number + 1, version) for number in range(CYCLE)])


def messages(index: int, sender: str, recipient: str, size: int) -> Traffic:
    """Version 1: Message, its Response, and the Message that the recipient gets.

    Args:
        index: of the sender among those who write to one recipient, below 94.
        size: bytes of text, at least 4.
    """
    made = [Message(_text(index, n, size), sender, recipient, _TIME + n) for n in range(CYCLE)]
    return Traffic(
        _stream([encode(message, n + 1, 1) for n, message in enumerate(made)]),
        _answers(1),
        _stream([encode(message, 0, 1) for message in made]),
    )


def publications(index: int, sender: str, recipient: str, size: int) -> Traffic:
    """Version 2: Publish, its Response, and the Deliver that the recipient gets.

    The number in the cycle is the last byte of the publishing id; whoever sends fills in the
    others (PUBLISHING_ID), whoever receives blanks the offset (OFFSET).
    """
    made = [(_text(index, n, size), _TIME + n) for n in range(CYCLE)]
    to = (recipient,)
    return Traffic(
        _stream(
            [
                encode(Publish(n, text, Scope.USERS, to, time), n + 1)
                for n, (text, time) in enumerate(made)
            ]
        ),
        _answers(2),
        _stream([encode(Deliver(0, text, sender, Scope.USERS, to, time)) for text, time in made]),
    )


def login(name: str, version: int = 1) -> bytes:
    """A Login with correlationId 1."""
    return encode(Login(name) if version == 1 else Login2(name), 1, version)


def login_answer() -> bytes:
    """What version 1 says to it."""
    return encode(Response(Code.OK), 1)


def ack(offset: int) -> bytes:
    """An Ack; it is not answered."""
    return encode(Ack(offset))


@lru_cache
def _repeated(cycle: bytes, least: int) -> bytes:
    return cycle * (1 + -(-least // len(cycle)))


class Expected:
    """A stream, compared piece by piece with what comes in.

    Args:
        whose: named where something is wrong.
        largest: bytes of the largest piece that is ever taken.
    """

    __slots__ = ("_bytes", "_length", "_position", "_whose", "count", "received", "size")

    def __init__(self, stream: Stream, whose: str, largest: int) -> None:
        self._bytes = _repeated(stream.cycle, largest)
        self._length = len(stream.cycle)
        self._position = 0
        self._whose = whose
        self.size = stream.size
        self.received = 0
        """Bytes so far."""
        self.count = 0
        """Whole frames so far."""

    def take(self, piece: memoryview) -> None:
        """The next bytes.

        Raises:
            Failed: they are not those that had to come.
        """
        if not self._bytes.startswith(piece, self._position):
            raise Failed(self._difference(bytes(piece)))
        received = self.received = self.received + len(piece)
        self._position = received % self._length
        self.count = received // self.size

    def _difference(self, piece: bytes) -> str:
        wanted = self._bytes[self._position : self._position + len(piece)]
        first = next(n for n, (a, b) in enumerate(zip(piece, wanted, strict=True)) if a != b)
        frame = (self.received + first) // self.size * self.size - self.received
        return (
            f"{self._whose}: frame {(self.received + first) // self.size} is"
            f" {_words(piece[max(frame, 0) : frame + self.size])}, and not"
            f" {_words(wanted[max(frame, 0) : frame + self.size])}"
        )


def _words(frame: bytes) -> str:
    if len(frame) >= 4 + MIN_FRAME and len(frame) == 4 + int.from_bytes(frame[:4], "big"):
        try:
            header, command = decode(frame[4:])
            return f"{command} with correlationId {header.correlation_id}"
        except Exception as error:
            return f"{frame.hex()} ({error})"
    return frame.hex()
