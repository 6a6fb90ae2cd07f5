"""Telling sessions who comes and goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Presence

if TYPE_CHECKING:
    from chat_protocol.server.connection import ChatProtocol

__all__ = ["Presences"]


class Presences:
    """The connections that asked to be told.

    One that does not take what was written is told later, of each user only the last.

    Args:
        missed: of how many users so much is kept; past that the oldest are forgotten.
    """

    def __init__(self, missed: int) -> None:
        self._limit = missed
        self._watchers: dict[ChatProtocol, dict[str, bytes]] = {}
        self.behind: set[ChatProtocol] = set()
        """Those that have missed some: :meth:`drained` is for them."""

    def watch(self, connection: ChatProtocol) -> None:
        """Tell this one from now on."""
        self._watchers[connection] = {}

    def forget(self, connection: ChatProtocol) -> None:
        """Tell it no more."""
        self._watchers.pop(connection, None)
        self.behind.discard(connection)

    def tell(self, name: str, online: bool, time: int, but: ChatProtocol | None = None) -> None:
        """A user came or went, at ``time`` in nanoseconds since the epoch."""
        if not self._watchers:
            return
        frame = encode(Presence(name, int(online), time))
        for connection, missed in self._watchers.items():
            if connection is but:
                continue
            if not missed and not connection.output.backlog:
                connection.answer(frame)
                continue
            self.behind.add(connection)
            missed.pop(name, None)
            missed[name] = frame
            if len(missed) > self._limit:
                del missed[next(iter(missed))]

    def drained(self, connection: ChatProtocol) -> None:
        """It has taken everything: what it missed follows."""
        self.behind.discard(connection)
        missed = self._watchers[connection]
        self._watchers[connection] = {}
        connection.answer(b"".join(missed.values()))
