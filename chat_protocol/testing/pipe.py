"""Two sockets in memory, joined: what the kernel is to a TCP connection of Twisted's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from enum import Enum, auto
from errno import ECONNRESET, EPIPE, EWOULDBLOCK
from itertools import count

__all__ = ["PIPE_BYTES", "End", "MemorySocket", "Pipe", "Wire"]

PIPE_BYTES = 64 * 1024
"""Bytes under way in one direction; until some are read no more are taken from the sender."""

_NUMBERS = count(1)


class End(Enum):
    """What stands behind the bytes of a pipe."""

    OPEN = auto()
    """Nothing yet."""
    CLOSED = auto()
    """The sender has closed its side (FIN)."""
    RESET = auto()
    """The connection is broken (RST)."""


class Wire:
    """What all sockets of a network share.

    Args:
        moved: called when something has changed that an end may want to know.
    """

    def __init__(self, moved: Callable[[], None]) -> None:
        self.moved = moved
        self.fragment = 0
        """Bytes that one read gives at most; 0: as many as are asked for."""


class Pipe:
    """One direction of a connection: the bytes that are sent and not read."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.end = End.OPEN
        self.stalled = False
        """Nothing comes out of it, not even its end."""
        self.reader_closed = False

    @property
    def readable(self) -> bool:
        """Whether a read would not block."""
        return not self.stalled and (bool(self.data) or self.end is not End.OPEN)

    @property
    def reset(self) -> bool:
        """Whether its reader can know that the connection is broken."""
        return not self.stalled and self.end is End.RESET


class MemorySocket:
    """As much of a non-blocking socket as ``twisted.internet.tcp.Connection`` uses.

    Args:
        incoming: what is read here.
        outgoing: what is written here.
    """

    def __init__(self, wire: Wire, incoming: Pipe, outgoing: Pipe) -> None:
        self._wire = wire
        self._in = incoming
        self._out = outgoing
        self._linger = True
        self._number = next(_NUMBERS)

    def bounce(self) -> None:
        """What was sent to one that is closed is answered with a reset (RFC 9293, 3.10.7)."""
        out = self._out
        if out.reader_closed and out.data and not out.stalled:
            out.data.clear()
            self._in.end = End.RESET

    # The methods of a socket.

    def recv(self, size: int) -> bytes:
        """See socket.recv()."""
        pipe = self._in
        if not pipe.readable:
            raise BlockingIOError(EWOULDBLOCK, "nothing is there to be read")
        if not pipe.data and pipe.end is End.RESET:
            raise ConnectionResetError(ECONNRESET, "the connection was reset")
        size = min(size, self._wire.fragment or size)
        data = bytes(pipe.data[:size])
        del pipe.data[:size]
        self._wire.moved()
        return data

    def send(self, data: bytes | memoryview) -> int:
        """See socket.send()."""
        pipe = self._out
        if self._in.reset or pipe.end is not End.OPEN:
            raise BrokenPipeError(EPIPE, "the connection is closed")
        taken = data[: PIPE_BYTES - len(pipe.data)]
        if data and not taken:
            raise BlockingIOError(EWOULDBLOCK, "there is no room")
        if taken:
            pipe.data += taken
            self._wire.moved()
        return len(taken)

    def shutdown(self, how: int) -> None:
        """See socket.shutdown(); what is behind it for reading is left to close()."""
        if how != socket.SHUT_RD and self._out.end is End.OPEN:
            self._out.end = End.CLOSED
            self._wire.moved()

    def close(self) -> None:
        """See socket.close(); without linger the peer gets a reset."""
        if not self._linger:
            self._out.end = End.RESET
        elif self._out.end is End.OPEN:
            self._out.end = End.CLOSED
        self._in.reader_closed = True
        self._wire.moved()

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """See socket.setsockopt(); SO_LINGER of no time is heeded, as Twisted sets it to abort."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._linger = False

    def getsockopt(self, level: int, option: int) -> int:
        """See socket.getsockopt(); none is set."""
        return 0

    def setblocking(self, flag: bool) -> None:
        """See socket.setblocking(); it never blocks."""

    def fileno(self) -> int:
        """A number for the log."""
        return self._number
