"""Formatting of names, texts and times from the network for a terminal or a line of output.

Everything that another user chose passes through :func:`visible` before it is printed, so that it
can neither control the terminal nor imitate another line.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime

from chat_protocol.client import ReceivedMessage, UserInfo, moment
from chat_protocol.domain.names import is_hidden

__all__ = [
    "as_display",
    "as_json",
    "as_line",
    "as_record",
    "excerpt",
    "format_ranges",
    "name_column",
    "quoted",
    "quoted_list",
    "user_as_json",
    "user_as_line",
    "visible",
    "visible_name",
]

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that are escaped: control, format (which includes bidirectional controls),
surrogate, private use, line and paragraph separators."""

_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_PLAIN_NAME = re.compile(r'[^\s:,"/\\][^\s:,"\\]*')
"""Names that need no quotes at the start of a line."""

_EVERYONE = "all users"
"""No username looks like this: a name with a space is quoted."""

_MAX_NAMES = 8
"""Maximum number of recipients shown by name; the rest is counted."""

_EXCERPT_LENGTH = 40
"""Maximum length of an excerpt, in characters."""


def visible(text: str) -> str:
    r"""Return ``text`` with control and invisible characters escaped, such as ``\x1b``.

    A backslash stays as it is: the result is for people. For programs see :func:`as_line`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def visible_name(name: str) -> str:
    """Return ``name`` with all characters escaped that a reader does not see.

    Names that look the same would otherwise pass for each other. In a text some of these characters
    have a meaning, such as the variation selectors of emoji.
    """
    if name.isascii() and name.isprintable():
        return name
    return "".join(_escaped(one) if is_hidden(one) else _visible_character(one) for one in name)


def _visible_character(character: str) -> str:
    return _escaped(character) if unicodedata.category(character) in _INVISIBLE else character


def _escaped(character: str) -> str:
    short_escape = _SHORT_ESCAPES.get(character)
    if short_escape is not None:
        return short_escape
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def quoted(name: str) -> str:
    """Return a name as it can be typed, in quotes if necessary."""
    if _PLAIN_NAME.fullmatch(name):
        return visible_name(name)
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible_name(escaped)}"'


def quoted_list(names: Sequence[str]) -> str:
    """Return recipients as they can be typed; no names mean everyone."""
    if len(names) > _MAX_NAMES:
        shown = ", ".join(map(quoted, names[: _MAX_NAMES - 1]))
        return f"{shown} and {len(names) - _MAX_NAMES + 1} more"
    return ", ".join(map(quoted, names)) or _EVERYONE


def excerpt(text: str) -> str:
    """Return the beginning of a text, in quotes."""
    return (
        f'"{visible(text if len(text) <= _EXCERPT_LENGTH else text[: _EXCERPT_LENGTH - 1] + "…")}"'
    )


def as_display(message: ReceivedMessage, now: datetime, me: str | None = None) -> str:
    """Return a message for the terminal, with its local time.

    Args:
        message: the message.
        now: an aware datetime; a message of another day shows its date.
        me: name to omit if it is the only recipient.
    """
    local = _sent_at_local(message)
    if local is None:
        timestamp = "??:??:??"
    elif local.date() == now.astimezone().date():
        timestamp = f"{local:%H:%M:%S}"
    else:
        timestamp = f"{local:%Y-%m-%d %H:%M:%S}"
    to = "" if message.recipients == (me,) else f" to {_recipients(message)}"
    return f"[{timestamp}] {quoted(message.sender)}{to}: {visible(message.text)}"


def as_line(message: ReceivedMessage) -> str:
    r"""Return local ISO time, sender and text, separated by tabs, on one line.

    Backslashes are doubled, so that an escaped character cannot be confused with a literal ``\n``.
    """
    return "\t".join(
        (
            _format_time(_sent_at_local(message)),
            name_column(message.sender),
            _escape_column(message.text),
        )
    )


def as_record(message: ReceivedMessage) -> str:
    """Return the line of :func:`as_line` with the recipients, as they can be typed, after the
    sender."""
    timestamp, sender, text = as_line(message).split("\t")
    to = ", ".join(map(quoted, message.recipients))
    return "\t".join((timestamp, sender, _EVERYONE if message.everyone else to, text))


def as_json(message: ReceivedMessage) -> str:
    """Return one JSON object on one line of ASCII.

    ``iso`` is UTC, or null if the time is outside the calendar; ``offset`` is null in version 1.
    """
    return json.dumps(
        {
            "from": message.sender,
            "to": list(message.recipients),
            "everyone": message.everyone,
            "text": message.text,
            "time": message.time,
            "iso": _format_iso(message.sent_at),
            "offset": message.offset or None,
        }
    )


def user_as_line(user: UserInfo) -> str:
    """Return name, ``online`` or ``offline``, and the local ISO time of the last login."""
    where = "online" if user.online else "offline"
    return "\t".join(
        (name_column(user.name), where, _format_time(_to_local(moment(user.last_login))))
    )


def user_as_json(user: UserInfo) -> str:
    """Return one JSON object on one line of ASCII; ``iso`` is the last login in UTC, or null."""
    return json.dumps(
        {
            "name": user.name,
            "online": user.online,
            "last_login": user.last_login,
            "iso": _format_iso(moment(user.last_login)),
        }
    )


def _recipients(message: ReceivedMessage) -> str:
    return _EVERYONE if message.everyone else quoted_list(message.recipients)


def name_column(name: str) -> str:
    """Return a name for a column of output; backslashes are doubled."""
    return visible_name(name.replace("\\", "\\\\"))


def _escape_column(text: str) -> str:
    return visible(text.replace("\\", "\\\\"))


def _format_iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _format_time(local: datetime | None) -> str:
    return "-" if local is None else local.isoformat(timespec="seconds")


def _sent_at_local(message: ReceivedMessage) -> datetime | None:
    return _to_local(message.sent_at)


def _to_local(time: datetime | None) -> datetime | None:
    try:
        return None if time is None else time.astimezone()
    except (OverflowError, OSError, ValueError):
        # The platform's time zone rules may not cover the whole calendar.
        return None


def format_ranges(numbers: Sequence[int]) -> str:
    """Format increasing numbers as ranges: ``3, 5 to 9``."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return ", ".join(f"{a} to {b}" if a != b else str(a) for a, b in ranges)
