"""A pair of connected in-memory sockets; they stand in for the kernel's TCP."""

from __future__ import annotations

import socket
from collections.abc import Callable
from enum import Enum, auto
from errno import ECONNRESET, EPIPE, EWOULDBLOCK
from itertools import count

__all__ = ["PIPE_BYTES", "MemorySocket", "Pipe", "PipeEnd", "PipeSettings"]

PIPE_BYTES = 64 * 1024
"""Capacity of one direction in bytes; a full pipe blocks the sender."""

_NUMBERS = count(1)


class PipeEnd(Enum):
    """What the reader gets after the last byte of a pipe."""

    OPEN = auto()
    """Nothing; more bytes can follow."""
    CLOSED = auto()
    """End of file: the sender has closed its side (FIN)."""
    RESET = auto()
    """ECONNRESET: the connection is broken (RST)."""


class PipeSettings:
    """The settings that all sockets of a network share.

    Args:
        changed: called when the state of a pipe has changed.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.fragment = 0
        """Maximum number of bytes per read; 0: no maximum."""


class Pipe:
    """One direction of a connection: the bytes that were sent and not yet read."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.end = PipeEnd.OPEN
        self.stalled = False
        """If true, the reader gets neither bytes nor the end."""
        self.reader_closed = False

    @property
    def readable(self) -> bool:
        """Whether a read would not block."""
        return not self.stalled and (bool(self.data) or self.end is not PipeEnd.OPEN)

    @property
    def reset(self) -> bool:
        """Whether the reader has seen the RST."""
        return not self.stalled and self.end is PipeEnd.RESET


class MemorySocket:
    """The part of a non-blocking socket that ``twisted.internet.tcp.Connection`` uses.

    Args:
        incoming: the pipe that it reads from.
        outgoing: the pipe that it writes to.
    """

    def __init__(self, settings: PipeSettings, incoming: Pipe, outgoing: Pipe) -> None:
        self._settings = settings
        self._in = incoming
        self._out = outgoing
        self._linger = True
        self._number = next(_NUMBERS)

    def reset_if_peer_closed(self) -> None:
        """Answer bytes that were sent to a closed socket with RST (RFC 9293, 3.10.7)."""
        out = self._out
        if out.reader_closed and out.data and not out.stalled:
            out.data.clear()
            self._in.end = PipeEnd.RESET

    # The methods of a socket.

    def recv(self, size: int) -> bytes:
        pipe = self._in
        if not pipe.readable:
            raise BlockingIOError(EWOULDBLOCK, "no data to read")
        if not pipe.data and pipe.end is PipeEnd.RESET:
            raise ConnectionResetError(ECONNRESET, "the peer reset the connection")
        size = min(size, self._settings.fragment or size)
        data = bytes(pipe.data[:size])
        del pipe.data[:size]
        self._settings.changed()
        return data

    def send(self, data: bytes | memoryview) -> int:
        pipe = self._out
        if self._in.reset or pipe.end is not PipeEnd.OPEN:
            raise BrokenPipeError(EPIPE, "the connection is closed")
        taken = data[: PIPE_BYTES - len(pipe.data)]
        if data and not taken:
            raise BlockingIOError(EWOULDBLOCK, "the send buffer is full")
        if taken:
            pipe.data += taken
            self._settings.changed()
        return len(taken)

    def shutdown(self, how: int) -> None:
        """Close the sending side; SHUT_RD has no effect."""
        if how != socket.SHUT_RD and self._out.end is PipeEnd.OPEN:
            self._out.end = PipeEnd.CLOSED
            self._settings.changed()

    def close(self) -> None:
        if not self._linger:
            self._out.end = PipeEnd.RESET
        elif self._out.end is PipeEnd.OPEN:
            self._out.end = PipeEnd.CLOSED
        self._in.reader_closed = True
        self._settings.changed()

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """Accept any option; SO_LINGER makes close() send RST, as Twisted's abort requests it."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._linger = False

    def getsockopt(self, level: int, option: int) -> int:
        return 0

    def setblocking(self, flag: bool) -> None:
        pass

    def fileno(self) -> int:
        """Return a number that identifies the socket in the log."""
        return self._number
