"""What a user at the terminal can ask for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CloseConversation",
    "Intent",
    "InvalidInput",
    "NoIntent",
    "OpenConversation",
    "Quit",
    "SendText",
    "SetBell",
    "ShowHelp",
    "ShowHistory",
    "ShowUsers",
]


@dataclass(frozen=True, slots=True)
class SendText:
    """Send ``text``; ``to`` None: to the current recipients; empty: to everyone."""

    to: tuple[str, ...] | None
    text: str


@dataclass(frozen=True, slots=True)
class ShowUsers:
    """List the users."""


@dataclass(frozen=True, slots=True)
class ShowHistory:
    """Show the newest messages.

    ``with_`` None: with the current recipient, or all messages if there is no single recipient.
    """

    with_: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class OpenConversation:
    """Open the conversation with these users."""

    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseConversation:
    """Close the conversation on the screen."""


@dataclass(frozen=True, slots=True)
class SetBell:
    """Turn the bell on or off; None: show the setting."""

    on: bool | None


@dataclass(frozen=True, slots=True)
class Quit:
    """Quit."""


@dataclass(frozen=True, slots=True)
class ShowHelp:
    """Show the help."""


@dataclass(frozen=True, slots=True)
class NoIntent:
    """Do nothing: the line is empty."""


@dataclass(frozen=True, slots=True)
class InvalidInput:
    """Show a sentence: the line is not valid."""

    sentence: str


Intent = (
    SendText
    | ShowUsers
    | ShowHistory
    | OpenConversation
    | CloseConversation
    | SetBell
    | Quit
    | ShowHelp
    | NoIntent
    | InvalidInput
)
