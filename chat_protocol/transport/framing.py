"""Length-prefixed frames on a Twisted transport, for the server and the client."""

from __future__ import annotations

import sys
import time

from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.protocols.basic import Int32StringReceiver

from chat_protocol.wire.codec import MAX_FRAME, MIN_FRAME

__all__ = ["FrameReceiver"]

_PREFIX = 4


class FrameReceiver(Int32StringReceiver):
    """Int32StringReceiver with fewer copies.

    As in the base class, ``stringReceived`` is called for each payload in order, and not while
    ``paused``; ``lengthLimitExceeded`` is called for a length above ``MAX_LENGTH``.

    Unlike in the base class:

    - ``lengthLimitExceeded`` is called for a length below ``MIN_FRAME`` as well, and all bytes
      behind such a length are ignored.
    - The pieces of a payload are collected in one buffer. The base class copies all pieces whenever
      one more arrives.
    - :meth:`frames_received` can take many frames at once.
    - One call of ``dataReceived`` handles at most ``quantum`` payloads one by one. Then
      :meth:`quantum_used` is called.
    """

    MAX_LENGTH = MAX_FRAME
    quantum = sys.maxsize

    _partial: bytearray | None = None
    """The beginning of a frame, or what arrived while paused: at most one frame and one read."""
    _wanted = 0
    """Size of ``_partial`` at which there is something to do."""
    _broken = False
    seconds = staticmethod(time.monotonic)
    heard = 0.0
    """When bytes last arrived, or reading resumed, by ``seconds``: any byte is a sign of life
    (docs/protocol.md, S54)."""

    @property
    def unfinished(self) -> object | None:
        """The frame whose rest has not arrived: the same object until the frame is complete."""
        return None if self.paused else self._partial

    def frames_received(self, data: bytes, position: int) -> int:
        """Override to take frames at ``position``, and return the position of the first byte left.

        At ``position`` there is at least one whole frame, with a length within the bounds.
        """
        return position

    def dataReceived(self, data: bytes) -> None:
        """Take bytes in pieces of any size."""
        self.heard = self.seconds()
        partial = self._partial
        if partial is not None:
            partial += data
            if len(partial) < self._wanted:
                return
            self._partial = None
            data = bytes(partial)
        position, left = 0, self.quantum
        end = len(data)
        self._wanted = _PREFIX
        while not self.paused and not self._broken and end - position >= _PREFIX:
            length = int.from_bytes(data[position : position + _PREFIX], "big")
            if not MIN_FRAME <= length <= self.MAX_LENGTH:
                self._broken = True
                self.lengthLimitExceeded(length)
                return
            stop = position + _PREFIX + length
            if stop > end:
                self._wanted = _PREFIX + length
                break
            taken = self.frames_received(data, position)
            if taken != position:
                position = taken
                continue
            if not left:
                self.quantum_used()
                break
            left -= 1
            position = stop
            self.stringReceived(data[stop - length : stop])
        if position < end and not self._broken:
            # Also if a handler has paused and resumed: nobody else has the rest.
            self._partial = bytearray(data[position:])

    def quantum_used(self) -> None:
        """Override to pause, and to resume later: whole frames are left."""

    def lengthLimitExceeded(self, length: int) -> None:
        """Close the connection: a length is out of bounds, and all bytes behind it are ignored.

        Override to do more, or something else.
        """
        ITransport(self.transport).loseConnection()

    def stringReceived(self, string: bytes) -> None:
        """Override to take one payload."""

    def stop_parsing(self) -> None:
        """Ignore all bytes from now on."""
        self._broken = True
        self._partial = None

    def pauseProducing(self) -> None:
        """Stop reading, and hold back what has arrived, until :meth:`resumeProducing`."""
        self.paused = True
        IPushProducer(self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        """Take what was held back, and read again."""
        if not self.paused:
            return
        self.paused = False
        self.heard = self.seconds()
        IPushProducer(self.transport).resumeProducing()
        if self._partial is not None:
            self._wanted = 0
            self.dataReceived(b"")
