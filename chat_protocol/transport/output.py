"""The bytes that go out on one connection: gathered during a reactor turn, written at its end.

On a plain TCP or UNIX connection they go to the socket directly, so that it is known how many the
kernel's send buffer has taken. Any other transport gets them by ``write``, and counts as having
taken them when it asks for more: with a socket below (TLS, the PROXY protocol) that is when the
kernel has them, without one (in a test) when its buffer is not full.
"""

from __future__ import annotations

from collections import deque
from errno import ENOBUFS
from typing import Any, Protocol

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from chat_protocol.domain.peer import IOutput
from chat_protocol.domain.turn import Turn
from chat_protocol.transport.sockets import (
    SEND_LIMIT,
    descriptor_below,
    is_closing,
    tls_written_by,
    unbuffered,
    write_at_once,
    write_pending,
    write_when_ready,
    writes_directly,
)

__all__ = ["BufferedOutput", "DirectOutput", "Output", "output_for"]


class Owner(Protocol):
    """The connection that an output belongs to."""

    def output_taken(self) -> None:
        """The transport has taken some of what was written; all of it if ``backlog`` is 0."""

    def output_unread(self, size: int) -> None:
        """The peer has left so many bytes of answers untaken."""


class _NoOwner:
    """Owns what is left of a connection that is gone."""

    def output_taken(self) -> None:
        """Nobody needs to know."""

    def output_unread(self, size: int) -> None:
        """Nobody needs to know."""


_NO_OWNER = _NoOwner()


@implementer(IOutput)
class Output:
    """What both kinds share: the gathering."""

    __slots__ = (
        "_answering",
        "_chunks",
        "_delivering",
        "_owner",
        "_transport",
        "_turn",
        "_unread",
        "backlog",
        "taken",
        "written",
    )

    def __init__(self, transport: Any, turn: Turn, owner: Owner) -> None:
        self._transport = transport
        self._turn = turn
        self._owner = owner
        self._chunks: list[bytes] = []
        self._answering = False
        """Whether the turn will flush it for an answer."""
        self._delivering = False
        """Whether the turn will flush it for a delivery."""
        self._unread = 0
        """Bytes of answers that were written while the transport took nothing."""
        self.written = 0
        self.taken = 0
        self.backlog = 0

    def write(self, data: bytes) -> None:
        self._chunks.append(data)
        self.written += len(data)
        if self.backlog:
            self._unread += len(data)
            self._owner.output_unread(self._unread)
        if not self._answering:
            self._answering = True
            self._turn.answering(self)

    def deliver(self, data: bytes) -> None:
        self._chunks.append(data)
        self.written += len(data)
        if not self._delivering:
            self._delivering = True
            self._turn.delivering(self)

    def flush(self) -> None:
        """Write what was gathered; for Turn."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the connection: it could not be flushed."""
        self._transport.abortConnection()

    def discard(self) -> None:
        """Write nothing of what was gathered, and nothing more: the connection is being aborted."""
        self._chunks.clear()
        self.disown()

    def disown(self) -> None:
        """Write nothing more and tell the owner nothing more: the connection is gone."""
        self._owner = _NO_OWNER

    def finish(self) -> None:
        """Prepare the transport for its end: nothing follows, and all that was written is taken."""

    @property
    def empty(self) -> bool:
        """Whether the transport has taken everything."""
        return not self._chunks and not self.backlog


@implementer(IPullProducer)
class DirectOutput(Output):
    """Output to a socket. What the kernel does not take waits here until there is room again."""

    __slots__ = ("_socket", "_waiting")

    def __init__(self, transport: Any, turn: Turn, owner: Owner) -> None:
        super().__init__(transport, turn, owner)
        self._socket = transport.getHandle()
        self._waiting: deque[bytes] | None = None

    def flush(self) -> None:
        """Write what was gathered, or put it behind what waits."""
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._answering = self._delivering = False
        if not data or self._owner is _NO_OWNER:
            return
        if self._waiting is not None:
            self._waiting.append(data)
            self.backlog += len(data)
            return
        sent = self._send(data)
        self.taken += sent
        if sent == len(data):
            self._unread = 0
            self._owner.output_taken()
            return
        self._waiting = deque((data[sent:],))
        self.backlog = len(data) - sent
        # As a producer it keeps the transport from closing before this is written.
        self._transport.registerProducer(self, False)
        write_when_ready(self._transport)

    def _send(self, data: bytes) -> int:
        """Write to the socket; return how many bytes the kernel took."""
        try:
            sent: int = self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != ENOBUFS:
                # The socket is broken: reading may be paused, so nobody else would notice.
                self._transport.abortConnection()
            return 0
        return sent

    def resumeProducing(self) -> None:
        """Go on with what waits: the kernel has room again."""
        waiting = self._waiting
        if waiting is None:
            return
        before = self.taken
        while waiting:
            data = waiting.popleft()
            while waiting and len(data) < SEND_LIMIT:
                data += waiting.popleft()
            sent = self._send(data)
            self.taken += sent
            self.backlog -= sent
            if sent < len(data):
                waiting.appendleft(data[sent:])
                write_when_ready(self._transport)
                break
        else:
            self._waiting = None
            self._unread = 0
            self._transport.unregisterProducer()
        if self.taken != before:
            self._owner.output_taken()

    def stopProducing(self) -> None:
        """The transport is gone."""


@implementer(IPushProducer)
class BufferedOutput(Output):
    """Output to any ITransport and IConsumer.

    What was written while the transport was full counts as not taken until it asks for more. A
    socket below it is full as soon as the kernel has not taken everything.
    """

    __slots__ = ("_descriptor", "_full", "_tls")

    def __init__(self, transport: Any, turn: Turn, owner: Owner) -> None:
        super().__init__(transport, turn, owner)
        self._full = False
        self._tls = tls_written_by(transport)
        self._descriptor = descriptor_below(transport)
        transport.registerProducer(self, True)

    def flush(self) -> None:
        """Give what was gathered to the transport, and have it written at once."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._answering = self._delivering = False
        if not data or self._owner is _NO_OWNER:
            return
        self.backlog += len(data)
        if self._closing:
            # It takes nothing any more, and does not say so.
            return
        was_full = self._full
        if self._descriptor is None:
            self._transport.write(data)
        else:
            with unbuffered(self._descriptor):
                if self._tls is not None:
                    write_at_once(self._tls, data)
                else:
                    self._transport.write(data)
        if self._full:
            if not was_full and self._descriptor is not None:
                write_pending(self._descriptor, lambda: self._full)
        elif not self._closing:
            self._taken()

    @property
    def _closing(self) -> bool:
        # A wrapper does not know that what is below it closes, as it does when TLS has failed.
        below = self._descriptor
        return getattr(self._transport, "disconnecting", False) or (
            below is not None and is_closing(below)
        )

    def _taken(self) -> None:
        self.backlog = 0
        self.taken = self.written - sum(map(len, self._chunks))
        self._unread = 0
        self._owner.output_taken()

    @property
    def full(self) -> bool:
        """Whether the transport takes nothing at the moment."""
        return self._full

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        was_full, self._full = self._full, False
        if self._closing:
            # TLS has failed, and may have dropped some of it. A socket waits with its end for a
            # producer that it has paused.
            self._transport.unregisterProducer()
        elif was_full:
            self._taken()

    def stopProducing(self) -> None:
        """The transport is gone."""

    def finish(self) -> None:
        # TLS sends no close_notify while it has a producer.
        self._transport.unregisterProducer()


def output_for(transport: Any, turn: Turn, owner: Owner) -> Output:
    """Return the output that fits the transport."""
    if writes_directly(transport):
        return DirectOutput(transport, turn, owner)
    return BufferedOutput(transport, turn, owner)
