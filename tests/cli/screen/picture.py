"""SVG pictures of captured tmux screens: single, side by side, or animated."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from wcwidth import wcswidth

__all__ = ["Photo", "Screen", "film", "picture"]

CELL = (8.4, 18.0)
"""Width and height of a character cell."""

MARGIN = 14.0
GAP = 16.0
BAR = 30.0
"""Height of the caption bar above a screen."""

BACKGROUND, FOREGROUND = "#16181d", "#d7dae0"
CURSOR = "#8a93a5"

_COLORS = (
    *("#3b4048", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4"),
    *("#7f8899", "#ff7b86", "#b5e890", "#ffd68a", "#7cc4ff", "#dd92f2", "#74d7e4", "#ffffff"),
)
"""The 16 terminal colors."""

_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m|\x1b[()][A-Z0-9]|[\x0e\x0f]")


@dataclass(frozen=True)
class Screen:
    """A captured screen.

    Args:
        rows: with colors as escape sequences; each row starts with the default style.
        width: columns.
        cursor: its column and row; None: hidden.
        caption: text above the screen.
    """

    rows: tuple[str, ...]
    width: int
    cursor: tuple[int, int] | None
    caption: str = ""


@dataclass(frozen=True)
class Photo:
    """An external image.

    Args:
        png: its bytes.
        size: width and height.
        caption: text above the image.
    """

    png: bytes
    size: tuple[float, float]
    caption: str


@dataclass(frozen=True)
class _Style:
    front: str = ""
    back: str = ""
    bold: bool = False
    reverse: bool = False


def _styled(row: str) -> Iterator[tuple[_Style, str]]:
    """Split a row into parts of one style."""
    style = _Style()
    at = 0
    for sequence in _SEQUENCE.finditer(row):
        if sequence.start() > at:
            yield style, row[at : sequence.start()]
        at = sequence.end()
        if sequence[1] is not None:
            style = _changed(style, [int(code or 0) for code in sequence[1].split(";")])
    if at < len(row):
        yield style, row[at:]


def _changed(style: _Style, codes: list[int]) -> _Style:
    for code in codes:
        if code == 0:
            style = _Style()
        elif code in (1, 22):
            style = replace(style, bold=code == 1)
        elif code in (7, 27):
            style = replace(style, reverse=code == 7)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = replace(style, front=_COLORS[code - 30 if code < 90 else code - 82])
        elif code == 39:
            style = replace(style, front="")
        elif 40 <= code <= 47 or 100 <= code <= 107:
            style = replace(style, back=_COLORS[code - 40 if code < 100 else code - 92])
        elif code == 49:
            style = replace(style, back="")
    return style


def _row(row: str) -> str:
    """Draw a row with its top left corner at 0, 0."""
    parts = []
    column = 0
    width, height = CELL
    for style, text in _styled(row):
        columns = max(0, wcswidth(text))
        front, back = style.front or FOREGROUND, style.back
        if style.reverse:
            front, back = back or BACKGROUND, style.front or "#aab2c0"
        if back:
            size = f'width="{columns * width:.1f}" height="{height:g}"'
            parts.append(f'<rect x="{column * width:.1f}" {size} fill="{back}"/>')
        shown = text.strip()
        if shown:
            at = column + len(text) - len(text.lstrip())
            bold = ' font-weight="bold"' if style.bold else ""
            color = f' fill="{front}"' if front != FOREGROUND else ""
            length = f'textLength="{wcswidth(shown) * width:.1f}"'
            place = f'x="{at * width:.1f}" y="13.5" {length}'
            parts.append(f"<text {place}{color}{bold}>{escape(shown, quote=False)}</text>")
        column += columns
    return "".join(parts)


class _Parts:
    """Drawings that are defined once and referenced wherever they appear."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self.definitions: list[str] = []

    def use(self, drawn: str, y: float) -> str:
        """Return a reference to a drawing at a vertical position."""
        if not drawn:
            return ""
        name = self._known.get(drawn)
        if name is None:
            name = self._known[drawn] = f"p{len(self._known)}"
            self.definitions.append(f'<g id="{name}">{drawn}</g>')
        return f'<use href="#{name}" y="{y:g}"/>' if y else f'<use href="#{name}"/>'

    def screen(self, screen: Screen) -> str:
        """Draw all rows; those above the last two form one block, which seldom changes."""
        height = CELL[1]
        rows = [self.use(_row(row), number * height) for number, row in enumerate(screen.rows)]
        body = self.use("".join(rows[:-2]), 0)
        cursor = ""
        if screen.cursor is not None:
            x, y = screen.cursor[0] * CELL[0], screen.cursor[1] * height
            cursor = f'<rect x="{x:.1f}" y="{y:g}" width="8.4" height="18" fill="{CURSOR}"/>'
        return cursor + body + "".join(rows[-2:])


def _size(screen: Screen) -> tuple[float, float]:
    return screen.width * CELL[0], len(screen.rows) * CELL[1]


def _framed(caption: str, size: tuple[float, float], x: float, inner: str) -> str:
    """Draw a window with a caption bar."""
    width, height = size[0] + 2 * MARGIN, size[1] + BAR + MARGIN
    dots = "".join(
        f'<circle cx="{x + 18 + 18 * number:g}" cy="15" r="5.5" fill="{color}"/>'
        for number, color in enumerate(("#e06c75", "#e5c07b", "#98c379"))
    )
    return (
        f'<rect x="{x:g}" width="{width:g}" height="{height:g}" rx="8" fill="{BACKGROUND}"/>{dots}'
        f'<text x="{x + width / 2:g}" y="20" text-anchor="middle" fill="#8a93a5">'
        f"{escape(caption)}</text>"
        f'<svg x="{x + MARGIN:g}" y="{BAR:g}" width="{size[0]:.1f}" height="{size[1]:g}">{inner}'
        "</svg>"
    )


def _document(width: float, height: float, style: str, parts: _Parts, inner: str) -> str:
    font = "font: 14px 'DejaVu Sans Mono', Menlo, Consolas, monospace; white-space: pre"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">\n'
        f"<style>text {{ {font} }}{style}</style>\n"
        f"<defs>\n{chr(10).join(parts.definitions)}\n</defs>\n"
        f'<g fill="{FOREGROUND}">\n{inner}\n</g>\n</svg>\n'
    )


def picture(lines: Sequence[Sequence[Screen | Photo]]) -> str:
    """Draw screens side by side, in lines from top to bottom."""
    parts = _Parts()
    windows = []
    widest = y = 0.0
    for line in lines:
        x = highest = 0.0
        for one in line:
            size = one.size if isinstance(one, Photo) else _size(one)
            inner = _photo(one) if isinstance(one, Photo) else parts.screen(one)
            framed = _framed(one.caption, size, x, inner)
            windows.append(f'<g transform="translate(0,{y:g})">{framed}</g>')
            x += size[0] + 2 * MARGIN + GAP
            highest = max(highest, size[1])
        widest = max(widest, x)
        y += highest + BAR + MARGIN + GAP
    return _document(widest - GAP, y - GAP, "", parts, "\n".join(windows))


def _photo(photo: Photo) -> str:
    width, height = photo.size
    data = b64encode(photo.png).decode()
    return f'<image width="{width:g}" height="{height:g}" href="data:image/png;base64,{data}"/>'


def film(frames: Sequence[tuple[float, Screen]], length: float, still: int) -> str:
    """Draw screens one after another in an endless animation.

    Args:
        frames: start time of each screen in seconds, and the screen.
        length: total length in seconds.
        still: index of the frame for viewers who prefer reduced motion.
    """
    parts = _Parts()
    first = frames[0][1]
    width, height = _size(first)
    strip = "\n".join(
        f'<svg x="{number * width:.1f}" width="{width:.1f}">{parts.screen(screen)}</svg>'
        for number, (_, screen) in enumerate(frames)
    )
    steps = "".join(
        f"{100 * start / length:.2f}%{{transform:translateX({-number * width:.1f}px)}}"
        for number, (start, _) in enumerate(frames)
    )
    style = (
        f"@keyframes film{{{steps}}}"
        f"#film{{animation:film {length:.1f}s steps(1,end) infinite}}"
        "@media (prefers-reduced-motion:reduce){#film{animation:none;"
        f"transform:translateX({-still * width:.1f}px)}}}}"
    )
    inner = _framed(first.caption, (width, height), 0, f'<g id="film">\n{strip}\n</g>')
    return _document(width + 2 * MARGIN, height + BAR + MARGIN, style, parts, inner)
