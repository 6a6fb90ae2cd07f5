"""What the terminal can show: its marks, and how wide characters are."""

from __future__ import annotations

import locale
import os
import re
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from wcwidth import wcwidth

from chat_protocol.cli.text import quoted, visible

__all__ = ["NICK_STYLES", "Fragment", "Look", "Row", "look_of_terminal"]

Fragment = tuple[str, str]
"""A style and a text."""

Row = list[Fragment]
"""What stands in one row of the screen."""

NICK_STYLES = 10
"""Styles that names are shown in, ``class:nick0`` and so on."""

MAX_MARKS = 4
"""Combining characters that stand on one character; a text of nothing else would be a tower."""

_VARIATIONS = frozenset(chr(number) for number in (*range(0xFE00, 0xFE10), *range(0x180B, 0x180E)))
"""Left out: terminals do not agree how wide what they change is."""

_PICTURES = "\u2600-\u27bf\U0001f000-\U0001faff"
_JOINER = re.compile(f"(?<=[{_PICTURES}\ufe0f])\u200d(?=[{_PICTURES}])")
"""Between pictures: few terminals join them, and none is deceived by them side by side."""

Cluster = tuple[str, int]
"""A character with what combines with it, and its width."""


@dataclass(frozen=True)
class Look:
    """The marks, and what can be shown beside them.

    Args:
        charset: what the terminal takes; what it has no code for is escaped.
    """

    charset: str = "utf-8"
    sending: str = "…"
    stored: str = "✓"
    failed: str = "✗"
    here: str = "●"
    away: str = "○"
    upright: str = "│"
    level: str = "─"
    below: str = "▼"
    cut: str = "…"

    def clusters(self, text: str) -> list[Cluster]:
        """The text as it can be shown, character by character; nothing in it acts."""
        found: list[Cluster] = []
        marks = 0
        for character in self.plain(text):
            if character in _VARIATIONS:
                continue
            width = 1 if character.isascii() else wcwidth(character)
            if width > 0:
                found.append((character, width))
                marks = 0
            elif found and marks < MAX_MARKS:
                found[-1] = (found[-1][0] + character, found[-1][1])
                marks += 1
        return found

    def plain(self, text: str) -> str:
        """Without control characters, and within the terminal's charset."""
        if not text.isascii():
            text = _JOINER.sub("", text)
        shown = visible(text)
        if shown.isascii() or self.charset == "utf-8":
            return shown
        return shown.encode(self.charset, "backslashreplace").decode(self.charset)

    def name(self, name: str) -> str:
        """A name as one can type it."""
        shown = quoted(name)
        if not shown.isascii():
            # Two names that differ must look so.
            shown = "".join(f"\\u{ord(c):04x}" if c in _VARIATIONS else c for c in shown)
        return self.plain(shown)

    def width(self, text: str) -> int:
        """Columns that a text takes."""
        if text.isascii():
            return len(text)
        return sum(width for _, width in self.clusters(text))

    def fit(self, text: str, width: int) -> str:
        """As much of the text as fits, with a mark if that is not all."""
        if len(text) <= width and text.isascii() and text.isprintable():
            return text
        clusters = self.clusters(text)
        if sum(columns for _, columns in clusters) <= width:
            return "".join(piece for piece, _ in clusters)
        kept, used = [], len(self.cut)
        for piece, columns in clusters:
            if used + columns > width:
                break
            kept.append(piece)
            used += columns
        return "".join(kept) + self.cut[: max(width, 0)]

    def pad(self, text: str, width: int) -> str:
        """The text in exactly that many columns."""
        fitting = self.fit(text, width)
        return fitting + " " * (width - self.width(fitting))

    def nick_style(self, name: str) -> str:
        """The same for a name whenever and wherever it is shown."""
        return f"class:nick{zlib.crc32(name.encode(errors='replace')) % NICK_STYLES}"


ASCII = Look(
    charset="ascii",
    sending=".",
    stored="+",
    failed="!",
    here="*",
    away="-",
    upright="|",
    level="-",
    below="v",
    cut="~",
)
"""For terminals that know nothing else."""


def look_of_terminal(environ: Mapping[str, str] = os.environ) -> Look:
    """By the locale that was set; Python itself takes none for UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)
    if environ.get("LC_ALL") in ("C", "POSIX"):
        encoding = "ascii"
    if encoding.lower().replace("-", "") == "utf8":
        return Look()
    return ASCII
