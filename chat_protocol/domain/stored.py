"""Messages as a store keeps them."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import NamedTuple

from chat_protocol.wire.commands import Scope
from chat_protocol.wire.frames import (
    encode_deliver,
    encode_delivers,
    encode_strings,
    text_of,
    time_of,
)

__all__ = ["MESSAGE_OVERHEAD", "Stored", "StoredRun", "Waiting"]

MESSAGE_OVERHEAD = 64
"""Bytes that a message, and each recipient of one, is counted for beside what they hold."""


class Stored(NamedTuple):
    """One message."""

    offset: int
    """Its number: the same for all who see it, and for ever."""
    sender: str
    time: int
    """As its sender wrote it, an opaque uint64."""
    text: bytes
    """UTF-8, at most 65,535 bytes."""
    scope: int
    """See wire.commands.Scope."""
    to: tuple[str, ...]
    """The recipients; empty where it went to everyone."""

    @property
    def end(self) -> int:
        """The number behind its own."""
        return self.offset + 1

    @property
    def size(self) -> int:
        """About the bytes that it takes."""
        return len(self.text) + MESSAGE_OVERHEAD + sum(map(len, self.to))

    def messages(self) -> list[Stored]:
        """See StoredRun."""
        return [self]

    def deliver_frames(self) -> list[bytes]:
        """As a session of version 2 gets it."""
        offset, sender, time, text, scope, to = self
        time_ = time.to_bytes(8, "big")
        return [encode_deliver(offset, text, sender, scope, encode_strings(to), time_)]


class StoredRun(NamedTuple):
    """Messages of one user to one other, that have their numbers one by one: at least one."""

    offset: int
    """Of the first."""
    sender: str
    recipient: str
    frames: list[bytes]
    """As a recipient of version 1 gets them, length in front."""

    @property
    def end(self) -> int:
        """The number behind that of the last."""
        return self.offset + len(self.frames)

    @property
    def scope(self) -> int:
        """See Stored."""
        return Scope.USERS

    @property
    def to(self) -> tuple[str, ...]:
        """See Stored."""
        return (self.recipient,)

    def between(self, begin: int, end: int) -> StoredRun:
        """Those whose numbers are from ``begin`` to below ``end``."""
        first = max(begin, self.offset)
        frames = self.frames[first - self.offset : max(0, end - self.offset)]
        return self._replace(offset=first, frames=frames)

    @property
    def size(self) -> int:
        """See Stored."""
        return sum(map(len, self.frames)) + self._more * len(self.frames)

    @property
    def _more(self) -> int:
        """What each message counts for beyond its frame: the same for all, which have one route."""
        frame = self.frames[0]
        return len(text_of(frame)) + MESSAGE_OVERHEAD + len(self.recipient) - len(frame)

    def front(self, count: int, size: int) -> StoredRun:
        """At most so many, and none behind the one that reaches the size."""
        if self.size > size:
            more = self._more
            sizes = accumulate(len(frame) + more for frame in self.frames)
            count = min(count, 1 + bisect_left(list(sizes), size))
        return self if count >= len(self.frames) else self.between(self.offset, self.offset + count)

    def messages(self) -> list[Stored]:
        """One by one."""
        sender, to = self.sender, self.to
        return [
            Stored(offset, sender, time_of(frame), text_of(frame), Scope.USERS, to)
            for offset, frame in enumerate(self.frames, self.offset)
        ]

    def deliver_frames(self) -> list[bytes]:
        """As a session of version 2 gets them."""
        texts = [text_of(frame) for frame in self.frames]
        return encode_delivers(self.offset, texts, self.sender, self.recipient, self.frames)


class Waiting(NamedTuple):
    """A message in the mailbox of one user."""

    user_id: int
    message: Stored
