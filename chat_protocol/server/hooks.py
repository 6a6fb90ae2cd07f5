"""What a program of one's own may add to the server: it is asked about messages, and told of them.

``ChatFactory(..., hooks=...)`` takes an object that provides :class:`IHooks`. Without one nothing
of this is on the way of a message. With one, messages are taken one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

__all__ = ["Hooks", "IHooks", "MessageInfo"]


@dataclass(frozen=True, slots=True)
class MessageInfo:
    """A message, as hooks see it."""

    sender: str
    device: str
    """Of the sender; empty: the unnamed device."""
    recipients: tuple[str, ...]
    """Empty if the message goes to everyone."""
    everyone: bool
    text: str
    time: int
    """Chosen by the sender, a uint64 of unknown unit."""
    offset: int = 0
    """The message's number (docs/protocol.md, S44); 0 until it is stored."""


class IHooks(Interface):
    """Is called in the reactor's thread, and must not block.

    What it raises, other than a refusal, is logged, and never reaches a client.
    """

    def admit(message: MessageInfo) -> Deferred[None] | None:
        """Decide on a message before it is stored.

        It is stored when this returns, or when the Deferred fires. To refuse it, raise a subclass
        of :class:`chat_protocol.errors.Refused`, or let the Deferred fail with one: its code and
        its detail are the answer. Any other exception is logged and answered with Error; no
        decision within HOOK_SECONDS (gate.py) with Unavailable. Nothing is stored then.

        Later messages of the same session wait meanwhile, others do not. They count for the limits
        ``session_backlog`` and ``store_backlog``: at these the server reads no more from the
        connection. A message that a client sends again is asked about again.
        """

    def stored(message: MessageInfo) -> Deferred[None] | None:
        """Note a message that was stored by this server, behind its answer.

        It is called once for each message, in the order of the offsets, not for those that were
        stored before under the same publishing id. A crash of the server may come between. While
        AFTER_LIMIT (gate.py) Deferreds of this have not fired, new messages wait.
        """

    def logged_in(user: str, device: str) -> None:
        """Note that a session has begun, and its user is online with this device."""

    def logged_out(user: str, device: str) -> None:
        """Note that a session has ended."""


@implementer(IHooks)
class Hooks:
    """Does nothing: a base class for hooks that need some of the methods only."""

    def admit(self, message: MessageInfo) -> Any:
        """See IHooks."""

    def stored(self, message: MessageInfo) -> Any:
        """See IHooks."""

    def logged_in(self, user: str, device: str) -> None:
        """See IHooks."""

    def logged_out(self, user: str, device: str) -> None:
        """See IHooks."""
