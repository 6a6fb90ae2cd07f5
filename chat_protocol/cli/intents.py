"""What somebody at a terminal can want."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CloseTalk",
    "Help",
    "Mistake",
    "Nothing",
    "OpenTalk",
    "Quit",
    "Ring",
    "Say",
    "ShowHistory",
    "ShowUsers",
    "Wish",
]


@dataclass(frozen=True, slots=True)
class Say:
    """Send ``text``; to whom one wrote last if ``to`` is None, to everyone if it is empty."""

    to: tuple[str, ...] | None
    text: str


@dataclass(frozen=True, slots=True)
class ShowUsers:
    """Show who there is."""


@dataclass(frozen=True, slots=True)
class ShowHistory:
    """Show the newest messages; with whom one wrote last, or with all, if ``with_`` is None."""

    with_: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class OpenTalk:
    """Show the conversation with these users."""

    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseTalk:
    """Take the conversation that is shown from the list."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Whether messages ring the bell; None: say whether they do."""

    on: bool | None


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave."""


@dataclass(frozen=True, slots=True)
class Help:
    """Show the help."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """An empty line."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Nothing to do but to say a sentence."""

    sentence: str


Wish = Say | ShowUsers | ShowHistory | OpenTalk | CloseTalk | Ring | Quit | Help | Nothing | Mistake
