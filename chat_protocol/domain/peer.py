"""A connection as the domain sees it: it can be written to, paused and ended."""

from __future__ import annotations

from zope.interface import Attribute, Interface

from chat_protocol.wire.codes import Code

__all__ = ["IConnection", "IOutput"]


class IOutput(Interface):
    """The bytes that go out on one connection: gathered in a reactor turn, written at its end."""

    written: int = Attribute("Count of all bytes written.")
    taken: int = Attribute("Count of bytes that the transport, on a socket the kernel, has taken.")
    backlog: int = Attribute("Bytes that were flushed and that the transport has not taken.")

    def write(data: bytes) -> None:
        """Append an answer."""

    def deliver(data: bytes) -> None:
        """Append messages to the user. The turn flushes them before outputs with answers only."""


class IConnection(Interface):
    """The connection of a session."""

    def pause(cause: object) -> None:
        """Pause reading until every cause is resumed."""

    def resume(cause: object) -> None:
        """Take back a pause. A cause that has not paused the connection is ignored."""

    def end(code: Code, reason: str) -> None:
        """End the session, and close the connection when all answers are out.

        A version 2 client is sent a Close with the code and the reason.
        """

    def abort() -> None:
        """End the session and the connection at once. Nothing more is written, then or later."""

    def refused(code: Code, count: int, detail: str = "") -> None:
        """Note for log and metrics that ``count`` requests were refused with a code."""
