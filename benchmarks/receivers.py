"""Receiving clients, which compare all deliveries with the expected ones."""

from __future__ import annotations

import socket
import struct
from time import monotonic
from typing import Protocol

from benchmarks.frames import OFFSET, CheckFailed, Expected, Stream, ack
from benchmarks.loop import DELIVERIES, Arrivals, Loop, read

__all__ = ["AckingReceiver", "FrameReceiver", "IReceiver", "Receiver", "SharedReceiver"]


class IReceiver(Protocol):
    """A client that receives and checks messages."""

    arrivals: Arrivals | None
    """The times of arrivals, if they are recorded."""

    @property
    def count(self) -> int:
        """Number of received messages."""

    @property
    def has_partial_frame(self) -> bool:
        """Whether the last received frame is incomplete."""


class Receiver:
    """Receives and checks the messages of one sender, version 1."""

    def __init__(
        self, loop: Loop, sock: socket.socket, stream: Stream, label: str, record: bool = False
    ) -> None:
        self._view = loop.deliveries
        self.sock = sock
        self._expected = Expected(stream, f"deliveries to {label}", DELIVERIES)
        self._label = label
        self.arrivals: Arrivals | None = [] if record else None
        loop.add(sock, self._ready)

    @property
    def count(self) -> int:
        return self._expected.count

    @property
    def has_partial_frame(self) -> bool:
        return self._expected.received % self._expected.size != 0

    def _ready(self, events: int) -> None:
        self._expected.take(self._read())
        if self.arrivals is not None:
            self.arrivals.append((monotonic(), self._expected.count))

    def _read(self) -> memoryview:
        """Receive the next part of the deliveries."""
        return self._view[: read(self.sock, self._view, self._label)]


class FrameReceiver:
    """Receives frames of one size, and buffers an incomplete frame."""

    def __init__(
        self, loop: Loop, sock: socket.socket, size: int, label: str, record: bool = False
    ) -> None:
        self.sock = sock
        self._size = size
        self._label = label
        self._buffer = bytearray(DELIVERIES)
        self._view = memoryview(self._buffer)
        self._rest = 0
        self._count = 0
        self.arrivals: Arrivals | None = [] if record else None
        loop.add(sock, self._ready)

    @property
    def count(self) -> int:
        return self._count

    @property
    def has_partial_frame(self) -> bool:
        return self._rest != 0

    def _ready(self, events: int) -> None:
        filled = self._rest + read(self.sock, self._view[self._rest :], self._label)
        whole = filled // self._size * self._size
        if whole:
            self._take(self._view[:whole], whole // self._size)
            self._count += whole // self._size
            if self.arrivals is not None:
                self.arrivals.append((monotonic(), self._count))
        self._rest = filled - whole
        self._buffer[: self._rest] = self._buffer[whole:filled]

    def answer(self, data: bytes | bytearray) -> None:
        """Send an acknowledgement."""
        try:
            self.sock.send(data)
        except OSError as error:
            raise CheckFailed(f"{self._label}: {error}") from None

    def _take(self, frames: memoryview, count: int) -> None:
        raise NotImplementedError


class SharedReceiver(FrameReceiver):
    """Receives the messages of several senders, and checks the order of each, version 1.

    Args:
        streams: the streams of the senders, by the first byte of their texts.
    """

    def __init__(
        self, loop: Loop, sock: socket.socket, streams: dict[bytes, Stream], label: str
    ) -> None:
        (size,) = {stream.size for stream in streams.values()}
        super().__init__(loop, sock, size, label)
        self._expected = {
            mark: Expected(stream, f"deliveries to {label}", DELIVERIES)
            for mark, stream in streams.items()
        }
        self._mark = 13
        """Position of the first byte of the text in a Message frame."""

    def _take(self, frames: memoryview, count: int) -> None:
        marks = bytes(frames[self._mark :: self._size])
        position = 0
        while marks:
            mark = marks[:1]
            others = marks.lstrip(mark)
            end = position + (len(marks) - len(others)) * self._size
            expected = self._expected.get(mark)
            if expected is None:
                raise CheckFailed(f"{self._label}: a message of an unknown sender")
            expected.take(frames[position:end])
            position, marks = end, others


class AckingReceiver(FrameReceiver):
    """Receives, checks and acknowledges the messages of one sender, version 2."""

    def __init__(
        self, loop: Loop, sock: socket.socket, stream: Stream, label: str, record: bool = False
    ) -> None:
        super().__init__(loop, sock, stream.size, label, record)
        self._expected = Expected(stream, f"deliveries to {label}", DELIVERIES)
        self._offsets = struct.Struct(f">{OFFSET.start}xQ{stream.size - OFFSET.stop}x")
        self._last = 0

    def _take(self, frames: memoryview, count: int) -> None:
        offsets = [offset for (offset,) in self._offsets.iter_unpack(frames)]
        if offsets[0] <= self._last or offsets != sorted(set(offsets)):
            raise CheckFailed(f"{self._label}: the offsets do not increase")
        self._last = offsets[-1]
        zeros = bytes(count)
        for index in range(OFFSET.start, OFFSET.stop):
            frames[index :: self._size] = zeros
        self._expected.take(frames)
        self.answer(ack(self._last))
