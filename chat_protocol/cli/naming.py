"""Parsing of typed usernames: separated by commas, optionally quoted."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["BEFORE_COLON", "BEFORE_SPACE", "typed_names"]

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COMMA = re.compile(r",\s*")

BEFORE_COLON = re.compile(r'[^\s":,]+')
"""An unquoted name before a colon."""

BEFORE_SPACE = re.compile(r'[^\s",]+')
"""An unquoted name before white space."""


def typed_names(
    line: str, plain: re.Pattern[str], known: Iterable[str] = ()
) -> tuple[tuple[str, ...], int]:
    """Return the names at the start of a line and their end; no names if the line starts otherwise.

    Args:
        line: the typed line.
        plain: pattern of an unquoted name.
        known: names that are recognized before a colon or comma even if they do not match
            ``plain``.
    """
    names: list[str] = []
    start = 0
    while True:
        name, start = _name(line, start, plain, known)
        if name is None:
            return (), start
        names.append(name)
        comma = _COMMA.match(line, start)
        if comma is None:
            return tuple(names), start
        start = comma.end()


def _name(
    line: str, start: int, plain: re.Pattern[str], known: Iterable[str]
) -> tuple[str | None, int]:
    for name in known:
        end = start + len(name)
        behind = line[end : end + 2]
        if line.startswith(name, start) and (behind.strip() == ":" or behind[:1] == ","):
            return name, end
    quoted = _QUOTED.match(line, start)
    if quoted is not None:
        return _ESCAPE.sub(r"\1", quoted[1]), quoted.end()
    match = plain.match(line, start)
    return (None, start) if match is None else (match[0], match.end())
