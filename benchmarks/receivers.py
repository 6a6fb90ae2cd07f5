"""Users who receive, and compare all of it with what had to come."""

from __future__ import annotations

import socket
import struct
from time import monotonic
from typing import Protocol

from benchmarks.frames import OFFSET, Expected, Failed, Stream, ack
from benchmarks.loop import DELIVERIES, Arrivals, Loop, read

__all__ = ["AckingReceiver", "IReceiver", "Receiver", "SharedReceiver"]


class IReceiver(Protocol):
    """Somebody who gets messages and checks them."""

    arrivals: Arrivals | None
    """When so many had come, where that is noted."""

    @property
    def count(self) -> int:
        """Messages that arrived."""

    @property
    def odd(self) -> bool:
        """Whether there is a part of a frame beyond them."""


class Receiver:
    """Compares what comes from one sender, version 1."""

    def __init__(
        self, loop: Loop, sock: socket.socket, stream: Stream, whose: str, record: bool = False
    ) -> None:
        self._view = loop.deliveries
        self.sock = sock
        self._expected = Expected(stream, f"deliveries to {whose}", DELIVERIES)
        self._whose = whose
        self.arrivals: Arrivals | None = [] if record else None
        loop.add(sock, self._ready)

    @property
    def count(self) -> int:
        """Messages that arrived."""
        return self._expected.count

    @property
    def odd(self) -> bool:
        """Whether there is a part of a frame beyond them."""
        return self._expected.received % self._expected.size != 0

    def _ready(self, events: int) -> None:
        view = self._view
        count = read(self.sock, view, self._whose)
        self._expected.take(view[:count])
        if self.arrivals is not None:
            self.arrivals.append((monotonic(), self._expected.count))


class _FrameReceiver:
    """Takes whole frames of one size; what is begun waits for its rest."""

    def __init__(
        self, loop: Loop, sock: socket.socket, size: int, whose: str, record: bool = False
    ) -> None:
        self.sock = sock
        self._size = size
        self._whose = whose
        self._buffer = bytearray(DELIVERIES)
        self._view = memoryview(self._buffer)
        self._rest = 0
        self._count = 0
        self.arrivals: Arrivals | None = [] if record else None
        loop.add(sock, self._ready)

    @property
    def count(self) -> int:
        """Messages that arrived."""
        return self._count

    @property
    def odd(self) -> bool:
        """Whether there is a part of a frame beyond them."""
        return self._rest != 0

    def _ready(self, events: int) -> None:
        filled = self._rest + read(self.sock, self._view[self._rest :], self._whose)
        whole = filled // self._size * self._size
        if whole:
            self._take(self._view[:whole], whole // self._size)
            self._count += whole // self._size
            if self.arrivals is not None:
                self.arrivals.append((monotonic(), self._count))
        self._rest = filled - whole
        self._buffer[: self._rest] = self._buffer[whole:filled]

    def _take(self, frames: memoryview, count: int) -> None:
        raise NotImplementedError


class SharedReceiver(_FrameReceiver):
    """Compares what comes from several senders, the order of each, version 1.

    Args:
        streams: of the senders; the first character of their texts tells them apart.
    """

    def __init__(
        self, loop: Loop, sock: socket.socket, streams: dict[bytes, Stream], whose: str
    ) -> None:
        (size,) = {stream.size for stream in streams.values()}
        super().__init__(loop, sock, size, whose)
        self._expected = {
            mark: Expected(stream, f"deliveries to {whose}", DELIVERIES)
            for mark, stream in streams.items()
        }
        self._mark = 13
        """Where a Message has the first byte of its text."""

    def _take(self, frames: memoryview, count: int) -> None:
        marks = bytes(frames[self._mark :: self._size])
        position = 0
        while marks:
            mark = marks[:1]
            others = marks.lstrip(mark)
            end = position + (len(marks) - len(others)) * self._size
            expected = self._expected.get(mark)
            if expected is None:
                raise Failed(f"{self._whose}: a message of nobody")
            expected.take(frames[position:end])
            position, marks = end, others


class AckingReceiver(_FrameReceiver):
    """Compares what comes from one sender and acknowledges it, version 2."""

    def __init__(
        self, loop: Loop, sock: socket.socket, stream: Stream, whose: str, record: bool = False
    ) -> None:
        super().__init__(loop, sock, stream.size, whose, record)
        self._expected = Expected(stream, f"deliveries to {whose}", DELIVERIES)
        self._offsets = struct.Struct(f">{OFFSET.start}xQ{stream.size - OFFSET.stop}x")
        self._last = 0

    def _take(self, frames: memoryview, count: int) -> None:
        offsets = [offset for (offset,) in self._offsets.iter_unpack(frames)]
        if offsets[0] <= self._last or offsets != sorted(set(offsets)):
            raise Failed(f"{self._whose}: offsets do not grow")
        self._last = offsets[-1]
        zeros = bytes(count)
        for index in range(OFFSET.start, OFFSET.stop):
            frames[index :: self._size] = zeros
        self._expected.take(frames)
        try:
            self.sock.send(ack(self._last))
        except OSError as error:
            raise Failed(f"{self._whose}: {error}") from None
