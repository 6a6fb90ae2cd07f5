"""Length-prefixed frames on a Twisted transport, for the server and the client alike."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.protocols.basic import Int32StringReceiver

from chat_protocol.wire.codec import MAX_FRAME, MIN_FRAME

__all__ = ["FrameReceiver"]

_PREFIX = 4


class FrameReceiver(Int32StringReceiver):
    """Int32StringReceiver without its copies.

    The contract is the one of the base class: ``stringReceived`` for each payload in order,
    nothing while ``paused``, ``lengthLimitExceeded`` for a length above ``MAX_LENGTH``; here for
    one below ``MIN_FRAME`` as well, and after it the connection takes no more bytes. What is
    different: a payload that arrives in many pieces is gathered in one buffer instead of being
    joined anew with every piece, and :meth:`frames_received` may take many frames at once.
    """

    MAX_LENGTH = MAX_FRAME

    _partial: bytearray | None = None
    """The beginning of a frame, or what arrived while paused; at most a frame and one read."""
    _wanted = 0
    """Bytes that ``_partial`` must have before there is anything to do."""
    _broken = False

    @property
    def unfinished(self) -> object | None:
        """The frame whose rest is waited for: the same object until it is there."""
        return None if self.paused else self._partial

    def frames_received(self, data: bytes, position: int) -> int:
        """Override to take whole frames at ``position``; returns where the first one left stands.

        ``data`` holds at least one whole frame there, its length within the bounds.
        """
        return position

    def dataReceived(self, data: bytes) -> None:
        """Take bytes in any portions."""
        partial = self._partial
        if partial is not None:
            partial += data
            if len(partial) < self._wanted:
                return
            self._partial = None
            data = bytes(partial)
        position = 0
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
            position = stop
            self.stringReceived(data[stop - length : stop])
        if position < end and not self._broken:
            # A handler may have paused and resumed: what is behind `position` is still ours.
            self._partial = bytearray(data[position:])

    def lengthLimitExceeded(self, length: int) -> None:
        """Override: a frame has a length outside its bounds; no more bytes are taken."""

    def stringReceived(self, string: bytes) -> None:
        """Override: one whole payload."""

    def stop_parsing(self) -> None:
        """Ignore whatever arrives from now on."""
        self._broken = True
        self._partial = None

    def pauseProducing(self) -> None:
        """Call no handler and read no more until :meth:`resumeProducing`."""
        self.paused = True
        IPushProducer(self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        """Go on with what waits here, then with the transport."""
        if not self.paused:
            return
        self.paused = False
        IPushProducer(self.transport).resumeProducing()
        if self._partial is not None:
            self._wanted = 0
            # Not the instance's own: what waits here is past what carries the frames.
            type(self).dataReceived(self, b"")
