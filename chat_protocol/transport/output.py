"""What goes out on one connection: gathered during a reactor turn, written at its end.

On a plain TCP or UNIX connection the bytes go to the socket directly, so that it is known which
messages the kernel's send buffer has taken. Any other transport gets them by ``write``, and counts
as having taken them when it asks for more: with a socket below (TLS, the PROXY protocol) that is
when the kernel has them, with none (a test's) when it is not full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from chat_protocol.domain.turn import Turn
from chat_protocol.interfaces import IOutput
from chat_protocol.transport.sockets import descriptor_below, is_tls, tls_below, write_at_once

__all__ = ["BufferedOutput", "DirectOutput", "Output", "output_for"]

_WRITES = 8
"""Attempts to have the kernel take all of a write before the reactor goes on with it; each is of
FileDescriptor.SEND_LIMIT bytes."""


class Owner(Protocol):
    """Whose output it is."""

    def output_drained(self) -> None:
        """The transport has taken everything that was written."""

    def output_unread(self, size: int) -> None:
        """The peer has left so many bytes of answers untaken."""


class _Nobody:
    """The owner of what is left of a connection."""

    def output_drained(self) -> None:
        """See Owner."""

    def output_unread(self, size: int) -> None:
        """See Owner."""


_NOBODY = _Nobody()


@implementer(IOutput)
class Output:
    """What both kinds share: the gathering."""

    __slots__ = (
        "_chunks",
        "_delivering",
        "_dirty",
        "_offsets",
        "_owner",
        "_transport",
        "_turn",
        "_unread",
        "backlog",
    )

    def __init__(self, transport: Any, turn: Turn, owner: Owner) -> None:
        self._transport = transport
        self._turn = turn
        self._chunks: list[bytes] = []
        self._offsets: list[int] = []
        """For each chunk the offset of the message that it is, or 0."""
        self._dirty = False
        self._delivering = False
        self._owner = owner
        self._unread = 0
        """Bytes of what is no message that were written while the transport took nothing."""
        self.backlog = 0

    def write(self, data: bytes) -> None:
        """See IOutput."""
        self._chunks.append(data)
        self._offsets.append(0)
        if self.backlog:
            self._unread += len(data)
            self._owner.output_unread(self._unread)
        if not self._dirty:
            self._dirty = True
            self._turn.dirty(self)

    def write_messages(self, frames: list[bytes], offsets: Sequence[int]) -> None:
        """See IOutput."""
        self._chunks += frames if len(frames) == len(offsets) else frames[: len(offsets)]
        self._offsets += offsets
        if not self._delivering:
            self._delivering = True
            self._turn.delivering(self)

    def flush(self) -> None:
        """Write what was gathered; for Turn."""
        raise NotImplementedError

    def _take_gathered(self) -> tuple[list[bytes], list[int]]:
        gathered = self._chunks, self._offsets
        self._chunks, self._offsets = [], []
        self._dirty = self._delivering = False
        return gathered

    def withdraw(self) -> list[tuple[int, bytes]]:
        """See IOutput."""
        withdrawn = _messages(self._chunks, self._offsets)
        self._chunks = [
            chunk for chunk, offset in zip(self._chunks, self._offsets, strict=True) if not offset
        ]
        self._offsets = [0] * len(self._chunks)
        return withdrawn

    def untaken(self) -> list[tuple[int, bytes]]:
        """See IOutput."""
        raise NotImplementedError

    def disown(self) -> None:
        """The owner is gone: nobody is told anything any more."""
        self._owner = _NOBODY

    def finish(self) -> None:
        """Nothing follows, and what was written is taken: the transport may be closed."""

    def _drained(self) -> None:
        self._unread = 0
        self._owner.output_drained()

    @property
    def gathered(self) -> bool:
        """See Flushable."""
        return bool(self._chunks)

    @property
    def empty(self) -> bool:
        """The transport has taken everything."""
        return not self._chunks and not self.backlog


@implementer(IPullProducer)
class DirectOutput(Output):
    """Output to a socket, by ``writeSomeData``.

    What the socket does not take waits here. Only the rest of a chunk that was cut is given to
    the transport's own buffer, to be called when there is room again.
    """

    __slots__ = ("_armed", "_waiting")

    def __init__(self, transport: Any, turn: Turn, owner: Owner) -> None:
        super().__init__(transport, turn, owner)
        self._waiting: deque[tuple[bytes, int]] | None = None
        self._armed: tuple[bytes, int] | None = None
        """The chunk whose rest is in the transport's buffer."""

    def flush(self) -> None:
        """Write what was gathered, or put it behind what waits."""
        chunks, offsets = self._take_gathered()
        if not chunks or not self._transport.connected:
            return
        if self._waiting is not None:
            self._waiting.extend(zip(chunks, offsets, strict=True))
            self.backlog += sum(map(len, chunks))
        elif self._send(chunks, offsets):
            self._unread = 0
            self._owner.output_drained()

    def _send(self, chunks: list[bytes], offsets: list[int]) -> bool:
        """Whether the socket took all of them; if not, the rest waits, in front."""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        sent = self._transport.writeSomeData(data)
        if sent == len(data):
            return True
        sent = self._write_rest(data, sent)
        if sent == len(data):
            return True
        self.backlog += len(data)
        index = 0
        while sent >= len(chunks[index]):
            sent -= len(chunks[index])
            self.backlog -= len(chunks[index])
            index += 1
        rest = zip(chunks[index + 1 :], offsets[index + 1 :], strict=True)
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.extendleft(reversed(list(rest)))
        self._transport.registerProducer(self, False)
        self._armed = (chunks[index], offsets[index])
        self._transport.write(chunks[index][sent:])
        return False

    def _write_rest(self, data: bytes, count: int | BaseException) -> int:
        """``count`` is what the socket made of a first attempt; returns the bytes it has taken."""
        transport = self._transport
        sent = 0
        while True:
            if isinstance(count, BaseException):
                # The socket is broken: reading may be held, so nobody else would notice.
                transport.abortConnection()
                return sent
            sent += count
            if not count or sent == len(data):
                return sent
            count = transport.writeSomeData(data[sent:])

    def resumeProducing(self) -> None:
        """The transport's buffer is empty: go on with what waits here."""
        if self._armed is None or self._waiting is None:
            return
        self.backlog -= len(self._armed[0])
        self._armed = None
        self._transport.unregisterProducer()
        while self._waiting:
            chunks, offsets, size = [], [], 0
            while self._waiting and size < self._transport.SEND_LIMIT:
                chunk, offset = self._waiting.popleft()
                chunks.append(chunk)
                offsets.append(offset)
                size += len(chunk)
            self.backlog -= size
            if not self._send(chunks, offsets):
                return
        self._waiting = None
        self._drained()

    def stopProducing(self) -> None:
        """The transport is gone; what waits stays for :meth:`untaken`."""

    def withdraw(self) -> list[tuple[int, bytes]]:
        """See IOutput; of the chunk that was cut the rest still goes out."""
        waiting = self._waiting or ()
        withdrawn = [(offset, chunk) for chunk, offset in waiting if offset]
        if self._waiting is not None:
            self._waiting = deque((chunk, 0) for chunk, offset in waiting if not offset)
            self.backlog -= sum(len(chunk) for _, chunk in withdrawn)
        return withdrawn + super().withdraw()

    def untaken(self) -> list[tuple[int, bytes]]:
        """See IOutput; a message of which a part was taken counts as untaken."""
        pairs = [self._armed] if self._armed is not None else []
        pairs += self._waiting or ()
        waiting = [(offset, chunk) for chunk, offset in pairs if offset]
        return waiting + _messages(self._chunks, self._offsets)


@implementer(IPushProducer)
class BufferedOutput(Output):
    """Output to any ITransport and IConsumer.

    What was written while the transport was full counts as untaken until it asks for more. A
    socket below it is full as soon as the kernel has not taken everything.
    """

    __slots__ = ("_descriptor", "_full", "_kept", "_tls")

    def __init__(self, transport: Any, turn: Turn, owner: Owner) -> None:
        super().__init__(transport, turn, owner)
        self._full = False
        self._kept: list[tuple[int, bytes]] = []
        self._tls = tls_below(transport)
        self._descriptor = descriptor_below(transport)
        transport.registerProducer(self, True)

    def flush(self) -> None:
        """Give what was gathered to the transport, and have it written at once."""
        chunks, offsets = self._take_gathered()
        if not chunks:
            return
        data = b"".join(chunks)
        self.backlog += len(data)
        self._kept += _messages(chunks, offsets)
        if getattr(self._transport, "disconnecting", False):
            # It takes nothing any more, and does not say so.
            return
        descriptor, was_full = self._descriptor, self._full
        if descriptor is None:
            self._transport.write(data)
        else:
            # Full, for once, is what holds anything. It is the size of a read, too.
            size, descriptor.bufferSize = descriptor.bufferSize, 0
            if self._tls is not None:
                write_at_once(self._tls, data)
            else:
                self._transport.write(data)
            descriptor.bufferSize = size
        if not self._full:
            self._taken()
        elif not was_full and descriptor is not None:
            for _ in range(_WRITES):
                descriptor.doWrite()  # type: ignore[no-untyped-call]
                if not self._full:
                    break

    def _taken(self) -> None:
        self._kept.clear()
        self.backlog = 0
        self._drained()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        if self._descriptor is not None and self._descriptor.disconnecting:
            # TLS failed: a socket waits with its end for a producer that it has paused once.
            self._transport.unregisterProducer()
        if self._full:
            self._full = False
            self._taken()

    def stopProducing(self) -> None:
        """The transport is gone."""

    def finish(self) -> None:
        """See Output."""
        # TLS sends no close_notify while it has a producer.
        self._transport.unregisterProducer()

    def untaken(self) -> list[tuple[int, bytes]]:
        """See IOutput."""
        return self._kept + _messages(self._chunks, self._offsets)


def _messages(chunks: Iterable[bytes], offsets: Iterable[int]) -> list[tuple[int, bytes]]:
    return [(offset, chunk) for chunk, offset in zip(chunks, offsets, strict=True) if offset]


def output_for(transport: Any, turn: Turn, owner: Owner) -> Output:
    """The output that fits the transport."""
    # Not by hasattr alone: a TLS wrapper lends the attributes of the socket below it.
    if isinstance(transport, FileDescriptor) and not is_tls(transport):
        return DirectOutput(transport, turn, owner)
    return BufferedOutput(transport, turn, owner)
