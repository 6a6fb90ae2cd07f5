"""Rendering of entries as rows of styled text."""

from __future__ import annotations

from functools import lru_cache

from chat_protocol.cli.screen.capabilities import Capabilities, Row
from chat_protocol.cli.screen.entries import Entry, EntryKind

__all__ = ["MAX_MESSAGE_ROWS", "entry_rows", "separator", "wrap"]

MAX_MESSAGE_ROWS = 100
"""Maximum number of rows of a message; a longer one is cut with a notice."""

WRAP_CACHE_SIZE = 256
"""Number of wrapped texts to cache, because each key redraws the screen."""

NAME_COLUMNS = 12
"""Width of the name column, if there is room."""

MAX_NAME_COLUMNS = 24
"""Maximum width of a name."""

NARROW = 60
"""Screen width below which there is no name column."""

_TIME = 6
_MARK = 2

_MARKS = {EntryKind.SENDING: "sending", EntryKind.STORED: "stored", EntryKind.FAILED: "failed"}


def entry_rows(entry: Entry, width: int, capabilities: Capabilities) -> list[Row]:
    """Render an entry: time, name, delivery mark and text, with an indent on later rows."""
    if entry.is_notice:
        return _notice_rows(entry, width, capabilities)
    time = "??:?? " if entry.time is None else f"{entry.time:%H:%M} "
    columns = NAME_COLUMNS if width >= NARROW else 0
    name = capabilities.fit(
        capabilities.name(entry.sender), min(MAX_NAME_COLUMNS, max(4, width // 3))
    )
    gap = " " * max(0, columns - capabilities.width(name))
    mark = _MARKS.get(entry.kind)
    indent = min(_TIME + max(columns, capabilities.width(name)) + 1 + _MARK, max(0, width - 10))
    if not columns:
        indent = min(indent, _TIME)
    lead: Row = [
        ("class:time", time),
        ("", gap),
        ("class:me" if entry.is_own else capabilities.nick_style(entry.sender), name),
        ("", " "),
        (f"class:{mark}" if mark else "", getattr(capabilities, mark) if mark else " "),
        ("", " "),
    ]
    used = sum(capabilities.width(text) for _, text in lead)
    style = "class:pending" if entry.kind is EntryKind.SENDING else ""
    if not columns:
        # The first row of text follows the name; later rows are below it.
        pieces, cut = wrap(entry.text, max(1, width - indent), capabilities, used - indent)
    else:
        lead[-1] = ("", " " * (1 + max(0, indent - used)))
        pieces, cut = wrap(entry.text, max(1, width - indent), capabilities)
    rows = [[*lead, (style, pieces[0])]]
    rows += [[("", " " * indent), (style, piece)] for piece in pieces[1:]]
    if cut:
        text = f"{capabilities.ellipsis} {cut} more characters; 'chatclient history' prints them"
        rows.append([("", " " * indent), ("class:notice", capabilities.fit(text, width - indent))])
    if entry.kind is EntryKind.FAILED:
        text = f"not sent: {entry.reason}"
        found, _ = wrap(text, max(1, width - indent), capabilities)
        rows += [[("", " " * indent), ("class:failed", piece)] for piece in found]
    return rows


def _notice_rows(entry: Entry, width: int, capabilities: Capabilities) -> list[Row]:
    time = "" if entry.time is None else f"{entry.time:%H:%M} "
    indent = len(time) + 2
    pieces, _ = wrap(entry.text, max(1, width - indent), capabilities)
    rows: list[Row] = [[("class:time", time), ("class:notice", f"* {pieces[0]}")]]
    return rows + [[("", " " * indent), ("class:notice", piece)] for piece in pieces[1:]]


def separator(text: str, width: int, capabilities: Capabilities, style: str) -> Row:
    """Return a horizontal line with a text in its middle."""
    text = capabilities.fit(f" {text} ", width)
    left = (width - capabilities.width(text)) // 2
    right = width - left - capabilities.width(text)
    return [(style, capabilities.horizontal * left + text + capabilities.horizontal * right)]


def wrap(text: str, width: int, capabilities: Capabilities, used: int = 0) -> tuple[list[str], int]:
    """Break a text into rows, at spaces where possible and at line breaks.

    Args:
        text: as received.
        width: columns of a row.
        capabilities: determine the widths of characters.
        used: columns of the first row that are occupied.

    Returns:
        1 to MAX_MESSAGE_ROWS rows, and the number of characters that were cut.
    """
    rows, cut = _wrapped(text, width, capabilities, used)
    return list(rows), cut


@lru_cache(maxsize=WRAP_CACHE_SIZE)
def _wrapped(
    text: str, width: int, capabilities: Capabilities, used: int
) -> tuple[tuple[str, ...], int]:
    rows: list[str] = []
    rest = text.rstrip("\n").replace("\r\n", "\n").replace("\t", "    ")
    left = len(rest)
    # Wrap only what can be visible: a text can have 65,535 characters.
    for paragraph in rest[: MAX_MESSAGE_ROWS * (width + 1)].split("\n"):
        if len(rows) >= MAX_MESSAGE_ROWS:
            break
        rows += _wrap_paragraph(paragraph, width, capabilities, 0 if rows else used)
        left -= len(paragraph) + 1
    if left <= 0 and len(rows) <= MAX_MESSAGE_ROWS:
        return tuple(rows), 0
    kept = rows[: MAX_MESSAGE_ROWS - 1]
    return tuple(kept), max(1, len(rest) - sum(map(len, kept)))


def _wrap_paragraph(text: str, width: int, capabilities: Capabilities, used: int) -> list[str]:
    rows: list[str] = []
    line: list[str] = []
    space = -1
    room = width - used
    taken = 0
    widths: list[int] = []
    for piece, columns in capabilities.clusters(text):
        if taken + columns > room and line:
            if piece == " ":
                rows.append("".join(line))
                line, widths, space, taken, room = [], [], -1, 0, width
                continue
            cut = space if space >= 0 else len(line)
            keep = cut + 1 if space >= 0 else cut
            rows.append("".join(line[:cut]))
            line, widths = line[keep:], widths[keep:]
            taken, space, room = sum(widths), -1, width
        elif taken + columns > room and used and not rows:
            rows.append("")
            room = width
        if piece == " ":
            space = len(line)
        line.append(piece)
        widths.append(columns)
        taken += columns
    rows.append("".join(line))
    return rows
