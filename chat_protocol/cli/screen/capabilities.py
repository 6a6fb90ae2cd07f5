"""Terminal capabilities: symbols, character set and character widths."""

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

__all__ = ["NICK_STYLES", "Capabilities", "Fragment", "Row", "detect_capabilities"]

Fragment = tuple[str, str]
"""A style and a text."""

Row = list[Fragment]
"""One row of the screen."""

NICK_STYLES = 10
"""Number of styles for names: ``class:nick0`` and so on."""

MAX_COMBINING = 4
"""Maximum number of combining characters on one character; the others are dropped."""

_VARIATIONS = frozenset(chr(number) for number in (*range(0xFE00, 0xFE10), *range(0x180B, 0x180E)))
"""Variation selectors, dropped because terminals disagree about the width of the result."""

_PICTURES = "\u2600-\u27bf\U0001f000-\U0001faff"
_JOINER = re.compile(f"(?<=[{_PICTURES}\ufe0f])\u200d(?=[{_PICTURES}])")
"""Joiners between emoji, dropped because few terminals join them."""

Cluster = tuple[str, int]
"""A character with its combining characters, and its width."""


@dataclass(frozen=True)
class Capabilities:
    """The symbols that the terminal can show, and the rendering of texts for it.

    Args:
        charset: the terminal's character set; other characters are escaped.
    """

    charset: str = "utf-8"
    sending: str = "…"
    stored: str = "✓"
    failed: str = "✗"
    online: str = "●"
    offline: str = "○"
    vertical: str = "│"
    horizontal: str = "─"
    more_below: str = "▼"
    ellipsis: str = "…"

    def clusters(self, text: str) -> list[Cluster]:
        """Split a text into displayable characters with their widths; control characters are
        escaped."""
        found: list[Cluster] = []
        marks = 0
        for character in self.plain(text):
            if character in _VARIATIONS:
                continue
            width = 1 if character.isascii() else wcwidth(character)
            if width > 0:
                found.append((character, width))
                marks = 0
            elif found and marks < MAX_COMBINING:
                found[-1] = (found[-1][0] + character, found[-1][1])
                marks += 1
        return found

    def plain(self, text: str) -> str:
        """Return the text with control characters, and characters outside the charset, escaped."""
        if not text.isascii():
            text = _JOINER.sub("", text)
        shown = visible(text)
        if shown.isascii() or self.charset == "utf-8":
            return shown
        return shown.encode(self.charset, "backslashreplace").decode(self.charset)

    def name(self, name: str) -> str:
        """Return a username as it can be typed."""
        return self.plain(quoted(name))

    def width(self, text: str) -> int:
        """Return the columns that a text occupies."""
        if text.isascii():
            return len(text)
        return sum(width for _, width in self.clusters(text))

    def fit(self, text: str, width: int) -> str:
        """Return as much of the text as fits, with an ellipsis if it was cut."""
        if len(text) <= width and text.isascii() and text.isprintable():
            return text
        clusters = self.clusters(text)
        if sum(columns for _, columns in clusters) <= width:
            return "".join(piece for piece, _ in clusters)
        kept, used = [], len(self.ellipsis)
        for piece, columns in clusters:
            if used + columns > width:
                break
            kept.append(piece)
            used += columns
        return "".join(kept) + self.ellipsis[: max(width, 0)]

    def pad(self, text: str, width: int) -> str:
        """Return the text, cut or padded to exactly this many columns."""
        fitting = self.fit(text, width)
        return fitting + " " * (width - self.width(fitting))

    def nick_style(self, name: str) -> str:
        """Return the style of a name, always the same for the same name."""
        return f"class:nick{zlib.crc32(name.encode(errors='replace')) % NICK_STYLES}"


ASCII = Capabilities(
    charset="ascii",
    sending=".",
    stored="+",
    failed="!",
    online="*",
    offline="-",
    vertical="|",
    horizontal="-",
    more_below="v",
    ellipsis="~",
)
"""For terminals that show only ASCII."""


def detect_capabilities(environ: Mapping[str, str] = os.environ) -> Capabilities:
    """Return the terminal's capabilities from the locale.

    Python assumes UTF-8 if no locale is set, so LC_ALL is checked as well.
    """
    encoding = getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)
    if environ.get("LC_ALL") in ("C", "POSIX"):
        encoding = "ascii"
    if encoding.lower().replace("-", "") == "utf8":
        return Capabilities()
    return ASCII
