"""Entries of a conversation as rows of styled text."""

from __future__ import annotations

from functools import lru_cache

from chat_protocol.cli.screen.capabilities import Look, Row
from chat_protocol.cli.screen.entries import Entry, Kind

__all__ = ["FOLD", "entry_rows", "separator", "wrap"]

FOLD = 100
"""Rows of one message that are shown; a longer one is cut and says so."""

WRAPPED = 256
"""Texts whose rows are remembered: what is on the screen is drawn again with each key."""

NAME_COLUMNS = 12
"""Columns for names, where there is room."""

LONGEST_NAME = 24
"""Columns of a name that has more."""

NARROW = 60
"""With fewer columns names take only what they need."""

_TIME = 6
_MARK = 2

_MARKS = {Kind.SENDING: "sending", Kind.STORED: "stored", Kind.FAILED: "failed"}


def entry_rows(entry: Entry, width: int, look: Look) -> list[Row]:
    """The rows of an entry: time, name, mark and text, which goes on below itself."""
    if entry.is_notice:
        return _notice_rows(entry, width, look)
    time = "??:?? " if entry.time is None else f"{entry.time:%H:%M} "
    columns = NAME_COLUMNS if width >= NARROW else 0
    name = look.fit(look.name(entry.sender), min(LONGEST_NAME, max(4, width // 3)))
    gap = " " * max(0, columns - look.width(name))
    mark = _MARKS.get(entry.kind)
    indent = min(_TIME + max(columns, look.width(name)) + 1 + _MARK, max(0, width - 10))
    if not columns:
        indent = min(indent, _TIME)
    lead: Row = [
        ("class:time", time),
        ("", gap),
        ("class:me" if entry.is_own else look.nick_style(entry.sender), name),
        ("", " "),
        (f"class:{mark}" if mark else "", getattr(look, mark) if mark else " "),
        ("", " "),
    ]
    used = sum(look.width(text) for _, text in lead)
    style = "class:pending" if entry.kind is Kind.SENDING else ""
    if not columns:
        # The text begins behind the name, and goes on below it.
        pieces, cut = wrap(entry.text, max(1, width - indent), look, used - indent)
    else:
        lead[-1] = ("", " " * (1 + max(0, indent - used)))
        pieces, cut = wrap(entry.text, max(1, width - indent), look)
    rows = [[*lead, (style, pieces[0])]]
    rows += [[("", " " * indent), (style, piece)] for piece in pieces[1:]]
    if cut:
        said = f"{look.cut} {cut} characters more; 'chatclient history' prints them"
        rows.append([("", " " * indent), ("class:notice", look.fit(said, width - indent))])
    if entry.kind is Kind.FAILED:
        said = f"not sent: {entry.reason}"
        found, _ = wrap(said, max(1, width - indent), look)
        rows += [[("", " " * indent), ("class:failed", piece)] for piece in found]
    return rows


def _notice_rows(entry: Entry, width: int, look: Look) -> list[Row]:
    time = "" if entry.time is None else f"{entry.time:%H:%M} "
    indent = len(time) + 2
    pieces, _ = wrap(entry.text, max(1, width - indent), look)
    rows: list[Row] = [[("class:time", time), ("class:notice", f"* {pieces[0]}")]]
    return rows + [[("", " " * indent), ("class:notice", piece)] for piece in pieces[1:]]


def separator(text: str, width: int, look: Look, style: str) -> Row:
    """A line across, with a text in its middle."""
    said = look.fit(f" {text} ", width)
    left = (width - look.width(said)) // 2
    right = width - left - look.width(said)
    return [(style, look.level * left + said + look.level * right)]


def wrap(text: str, width: int, look: Look, used: int = 0) -> tuple[list[str], int]:
    """Break a text into rows, at spaces if it has some, and at its own line ends.

    Args:
        text: as it came.
        width: columns of a row.
        look: how wide its characters are.
        used: columns of the first row that are taken.

    Returns:
        At least one row, at most FOLD; and how many characters did not fit into them.
    """
    rows, cut = _wrapped(text, width, look, used)
    return list(rows), cut


@lru_cache(maxsize=WRAPPED)
def _wrapped(text: str, width: int, look: Look, used: int) -> tuple[tuple[str, ...], int]:
    rows: list[str] = []
    rest = text.rstrip("\n").replace("\r\n", "\n").replace("\t", "    ")
    left = len(rest)
    # Not the whole text: the longest has 65,535 characters, and few of them are seen.
    for paragraph in rest[: FOLD * (width + 1)].split("\n"):
        if len(rows) >= FOLD:
            break
        rows += _wrap_paragraph(paragraph, width, look, 0 if rows else used)
        left -= len(paragraph) + 1
    if left <= 0 and len(rows) <= FOLD:
        return tuple(rows), 0
    kept = rows[: FOLD - 1]
    return tuple(kept), max(1, len(rest) - sum(map(len, kept)))


def _wrap_paragraph(text: str, width: int, look: Look, used: int) -> list[str]:
    rows: list[str] = []
    line: list[str] = []
    space = -1
    room = width - used
    taken = 0
    widths: list[int] = []
    for piece, columns in look.clusters(text):
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
