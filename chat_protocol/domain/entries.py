"""Messages as a mailbox keeps them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import NamedTuple

from chat_protocol.wire.frames import (
    encode_address,
    encode_deliver_route,
    encode_delivered,
    encode_delivers,
    encode_route,
    text_of,
    time_of,
)

__all__ = ["Entry"]


class Entry(NamedTuple):
    """One or more messages from one sender to one audience, with consecutive offsets.

    Messages are stored, read and delivered by the entry.
    """

    offset: int
    """Offset of the first message (docs/protocol.md, S44)."""
    sender: str
    """Username of the sender."""
    device: str
    """Device that sent the messages, as in Session.device; empty for the unnamed one."""
    scope: int
    to: tuple[str, ...]
    """Usernames of the recipients; empty if the messages went to everyone."""
    frames: list[bytes]
    """Each message as a version 1 frame, length in front, with correlationId 0. Its `to` is the
    recipient's name, or empty where the audience is several users or everyone."""

    @property
    def end(self) -> int:
        """The offset behind that of the last message."""
        return self.offset + len(self.frames)

    @property
    def size(self) -> int:
        """Bytes that the messages take on the wire, approximately."""
        return sum(map(len, self.frames)) + len(self.frames) * self._names_size

    @property
    def _names_size(self) -> int:
        # A single name is in each frame already.
        return 0 if len(self.to) == 1 else sum(2 + len(name.encode()) for name in self.to)

    def is_copy_for(self, username: str) -> bool:
        """Return whether a user has it because the user sent it, from another device."""
        return self.sender == username and username not in self.to

    def between(self, begin: int, end: int) -> Entry:
        """Return the messages with offsets from ``begin`` to below ``end``."""
        first = max(begin, self.offset)
        frames = self.frames[first - self.offset : max(0, end - self.offset)]
        return self._replace(offset=first, frames=frames)

    def front(self, count: int, size: int) -> Entry:
        """Return at most ``count`` messages, ending with the one that reaches ``size`` bytes."""
        if self.size > size:
            names = self._names_size
            sizes = accumulate(len(frame) + names for frame in self.frames)
            count = min(count, 1 + bisect_left(list(sizes), size))
        return self if count >= len(self.frames) else self.between(self.offset, self.offset + count)

    def back(self, count: int, size: int) -> Entry:
        """Return at most ``count`` of the last messages, of at most ``size`` bytes; maybe none."""
        if self.size > size:
            names = self._names_size
            sizes = accumulate(len(frame) + names for frame in reversed(self.frames))
            count = min(count, bisect_right(list(sizes), size))
        return self if count >= len(self.frames) else self.between(self.end - count, self.end)

    def texts(self) -> list[bytes]:
        """Return the text of each message, in UTF-8."""
        return [text_of(frame) for frame in self.frames]

    def messages_for(self, username: str) -> list[bytes]:
        """Return the frames that a version 1 session of a recipient gets."""
        if len(self.to) == 1:
            return self.frames
        route = encode_route(self.sender, username)
        return [encode_delivered(text_of(frame), route, time_of(frame)) for frame in self.frames]

    def delivers(self, texts: list[bytes] | None = None, route: bytes = b"") -> bytes:
        """Return the Deliver frames that version 2 sessions get, one behind the other.

        Args:
            texts: what :meth:`texts` returns, if it is known already. There may be more behind it.
            route: see wire.frames.encode_deliver_route, if it is known already.
        """
        route = route or encode_deliver_route(self.sender, encode_address(self.scope, self.to))
        return b"".join(encode_delivers(self.offset, texts or self.texts(), route, self.frames))
