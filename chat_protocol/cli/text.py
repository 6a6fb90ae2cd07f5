"""Names, texts and times from the network, made fit for a terminal or a line of output.

Whatever another user chose passes through :func:`visible` before it is printed, so that it can
neither drive the terminal nor pretend to be another line.
"""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import datetime

from chat_protocol.client import ReceivedMessage

__all__ = ["arrival", "as_json", "as_line", "quoted", "visible"]

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that are escaped: controls, formats (the bidirectional ones too),
surrogates, private use, line and paragraph separators."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_PLAIN_NAME = re.compile(r'[^\s:"/\\][^\s:"\\]*')
"""Names that need no quotes at the beginning of a line."""


def visible(text: str) -> str:
    r"""``text`` with every character escaped that acts instead of being seen: ``\x1b``.

    A backslash stays as it is: this is for people, see :func:`as_line` for programs.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    short = _SHORT.get(character)
    if short is not None:
        return short
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def quoted(name: str) -> str:
    """A name as one can type it: in quotes if it holds what would end it."""
    if _PLAIN_NAME.fullmatch(name):
        return visible(name)
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible(escaped)}"'


def arrival(message: ReceivedMessage, now: datetime) -> str:
    """A message for the person at the terminal, its time local.

    Args:
        message: what came.
        now: an aware datetime; a message of another day shows its date.
    """
    local = _local(message)
    if local is None:
        stamp = "??:??:??"
    elif local.date() == now.astimezone().date():
        stamp = f"{local:%H:%M:%S}"
    else:
        stamp = f"{local:%Y-%m-%d %H:%M:%S}"
    return f"[{stamp}] {quoted(message.sender)}: {visible(message.text)}"


def as_line(message: ReceivedMessage) -> str:
    r"""Local ISO time, sender and text with tabs between them, on one line.

    Backslashes are doubled, so that an escaped character cannot be mistaken for one that was
    written as ``\n``.
    """
    local = _local(message)
    stamp = "-" if local is None else local.isoformat(timespec="seconds")
    sender, text = (visible(part.replace("\\", "\\\\")) for part in (message.sender, message.text))
    return f"{stamp}\t{sender}\t{text}"


def as_json(message: ReceivedMessage) -> str:
    """One JSON object on one line of ASCII; ``iso`` is UTC, or null if no calendar has it."""
    sent_at = message.sent_at
    return json.dumps(
        {
            "from": message.sender,
            "to": message.recipient,
            "text": message.text,
            "time": message.time,
            "iso": None if sent_at is None else sent_at.isoformat().replace("+00:00", "Z"),
        }
    )


def _local(message: ReceivedMessage) -> datetime | None:
    sent_at = message.sent_at
    try:
        return None if sent_at is None else sent_at.astimezone()
    except (OverflowError, OSError, ValueError):
        # The platform's time zone rules need not reach as far as the calendar.
        return None
