"""Names, texts and times from the network, made fit for a terminal or a line of output.

Whatever another user chose passes through :func:`visible` before it is printed, so that it can
neither drive the terminal nor pretend to be another line.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime

from chat_protocol.client import ReceivedMessage, UserInfo, moment

__all__ = [
    "arrival",
    "as_json",
    "as_line",
    "as_record",
    "excerpt",
    "quoted",
    "quoted_list",
    "ranges_of",
    "user_as_json",
    "user_as_line",
    "visible",
]

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that are escaped: controls, formats (the bidirectional ones too),
surrogates, private use, line and paragraph separators."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_PLAIN_NAME = re.compile(r'[^\s:,"/\\][^\s:,"\\]*')
"""Names that need no quotes at the beginning of a line."""

_EVERYONE = "all users"
"""No name looks so: one with a space in it is in quotes."""

_MOST_NAMES = 8
"""Of more recipients the others are counted."""

_EXCERPT = 40
"""Characters of a text that remind of it."""


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


def quoted_list(names: Sequence[str]) -> str:
    """Recipients as one can type them; no names are everyone."""
    if len(names) > _MOST_NAMES:
        shown = ", ".join(map(quoted, names[: _MOST_NAMES - 1]))
        return f"{shown} and {len(names) - _MOST_NAMES + 1} more"
    return ", ".join(map(quoted, names)) or _EVERYONE


def excerpt(text: str) -> str:
    """The beginning of a text, in quotes."""
    return f'"{visible(text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…")}"'


def arrival(message: ReceivedMessage, now: datetime, me: str | None = None) -> str:
    """A message for the person at the terminal, its time local.

    Args:
        message: what came.
        now: an aware datetime; a message of another day shows its date.
        me: whose name goes without saying if nobody else is a recipient.
    """
    local = _local(message)
    if local is None:
        stamp = "??:??:??"
    elif local.date() == now.astimezone().date():
        stamp = f"{local:%H:%M:%S}"
    else:
        stamp = f"{local:%Y-%m-%d %H:%M:%S}"
    to = "" if message.recipients == (me,) else f" to {_recipients(message)}"
    return f"[{stamp}] {quoted(message.sender)}{to}: {visible(message.text)}"


def as_line(message: ReceivedMessage) -> str:
    r"""Local ISO time, sender and text with tabs between them, on one line.

    Backslashes are doubled, so that an escaped character cannot be mistaken for one that was
    written as ``\n``.
    """
    return "\t".join((_stamp(_local(message)), _column(message.sender), _column(message.text)))


def as_record(message: ReceivedMessage) -> str:
    """As :func:`as_line`, with the recipients, as one can type them, behind the sender."""
    stamp, sender, text = as_line(message).split("\t")
    to = ", ".join(map(quoted, message.recipients))
    return "\t".join((stamp, sender, _EVERYONE if message.everyone else to, text))


def as_json(message: ReceivedMessage) -> str:
    """One JSON object on one line of ASCII.

    ``iso`` is UTC, or null if no calendar has it; ``offset`` is null if the server has none.
    """
    return json.dumps(
        {
            "from": message.sender,
            "to": list(message.recipients),
            "everyone": message.everyone,
            "text": message.text,
            "time": message.time,
            "iso": _iso(message.sent_at),
            "offset": message.offset or None,
        }
    )


def user_as_line(user: UserInfo) -> str:
    """Name, ``online`` or ``offline``, and the local ISO time of the last login."""
    where = "online" if user.online else "offline"
    return "\t".join((_column(user.name), where, _stamp(_to_local(moment(user.last_login)))))


def user_as_json(user: UserInfo) -> str:
    """One JSON object on one line of ASCII; ``iso`` is the last login in UTC, or null."""
    return json.dumps(
        {
            "name": user.name,
            "online": user.online,
            "last_login": user.last_login,
            "iso": _iso(moment(user.last_login)),
        }
    )


def _recipients(message: ReceivedMessage) -> str:
    return _EVERYONE if message.everyone else quoted_list(message.recipients)


def _column(text: str) -> str:
    return visible(text.replace("\\", "\\\\"))


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _stamp(local: datetime | None) -> str:
    return "-" if local is None else local.isoformat(timespec="seconds")


def _local(message: ReceivedMessage) -> datetime | None:
    return _to_local(message.sent_at)


def _to_local(time: datetime | None) -> datetime | None:
    try:
        return None if time is None else time.astimezone()
    except (OverflowError, OSError, ValueError):
        # The platform's time zone rules need not reach as far as the calendar.
        return None


def ranges_of(numbers: Sequence[int]) -> str:
    """Numbers that grow, those that follow each other as one: ``3, 5 to 9``."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return ", ".join(f"{a} to {b}" if a != b else str(a) for a, b in ranges)
