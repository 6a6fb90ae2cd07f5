"""Which rows of a conversation are on the screen, and how to move among them."""

from __future__ import annotations

from collections.abc import Iterator

from chat_protocol.cli.screen.capabilities import Look, Row
from chat_protocol.cli.screen.conversations import Talk
from chat_protocol.cli.screen.entries import Entry
from chat_protocol.cli.screen.rows import entry_rows, separator

__all__ = ["Viewport"]


class Viewport:
    """The rows of a conversation in a window of some size.

    Only what is visible is made, upwards from the last row: how much there is above costs nothing.

    Args:
        talk: what is shown; scrolling changes its ``bottom`` and ``hidden``.
        width: columns.
        height: rows.
        look: what the terminal can show.
    """

    def __init__(self, talk: Talk, width: int, height: int, look: Look) -> None:
        self._talk = talk
        self._width = max(1, width)
        self._height = max(1, height)
        self._look = look

    def rows(self) -> list[Row]:
        """The rows that are visible, at most as many as the window has."""
        rows = self._rows()
        if len(rows) < self._height and not self._talk.follows:
            # The window has grown, and there is nothing above to fill it.
            self._down(self._height - len(rows))
            rows = self._rows()
        return rows

    def _rows(self) -> list[Row]:
        index, hidden = self._bottom()
        rows: list[Row] = []
        for at in range(index, -1, -1):
            block = self._block(at)
            rows = block[: len(block) - hidden] + rows
            hidden = 0
            if len(rows) >= self._height:
                break
        return rows[-self._height :]

    def scroll(self, rows: int) -> bool:
        """Move, up if negative.

        Returns:
            Whether that ended at the top.
        """
        if rows < 0:
            return self._up(-rows)
        self._down(rows)
        return False

    def to_top(self) -> None:
        """Show the first entry that is here."""
        self._up(sum(1 for _ in self._above()))

    def _up(self, rows: int) -> bool:
        index, hidden = self._bottom()
        if index < 0:
            return True
        # The last row to be shown must have a window's height of rows above it.
        seen: list[tuple[int, int]] = [(index, hidden)]
        for place in self._above():
            seen.append(place)
            if len(seen) >= rows + self._height:
                break
        top = len(seen) < rows + self._height
        place = seen[max(0, min(rows, len(seen) - self._height))]
        self._show(*place)
        return top

    def _above(self) -> Iterator[tuple[int, int]]:
        """The places of the rows above the last one, going up: entry, and rows hidden of it."""
        index, hidden = self._bottom()
        for at in range(index, -1, -1):
            size = len(self._block(at))
            first = hidden + 1 if at == index else 0
            for row in range(first, size):
                yield at, row

    def _down(self, rows: int) -> None:
        talk = self._talk
        if talk.bottom is None:
            return
        index, hidden = self._bottom()
        while rows > 0:
            if hidden:
                step = min(rows, hidden)
                hidden -= step
                rows -= step
            elif index + 1 < len(talk.entries):
                index += 1
                hidden = len(self._block(index))
            else:
                break
        self._show(index, hidden)

    def _show(self, index: int, hidden: int) -> None:
        talk = self._talk
        if index == len(talk.entries) - 1 and not hidden:
            talk.bottom, talk.hidden = None, 0
            talk.seen()
        else:
            talk.bottom, talk.hidden = talk.entries[index], hidden

    def _bottom(self) -> tuple[int, int]:
        """Where the last entry that is shown stands, and how many rows of it are hidden."""
        talk = self._talk
        if talk.bottom is None:
            return len(talk.entries) - 1, 0
        index = talk.entries.index(talk.bottom)
        # It may have fewer rows than when it was scrolled to: the window was narrower then.
        return index, min(talk.hidden, len(self._block(index)) - 1) if talk.hidden else 0

    def _block(self, index: int) -> list[Row]:
        """The rows of an entry, with the lines that separate it from the one above."""
        entry = self._talk.entries[index]
        rows = entry_rows(entry, self._width, self._look)
        above: list[Row] = []
        if self._begins_a_day(index, entry):
            assert entry.time is not None
            day = f"{entry.time:%A, %Y-%m-%d}"
            above.append(separator(day, self._width, self._look, "class:day"))
        if self._talk.new_from is entry and index > 0:
            above.append(separator("new", self._width, self._look, "class:new"))
        return above + rows

    def _begins_a_day(self, index: int, entry: Entry) -> bool:
        if entry.time is None or entry.is_notice:
            return False
        entries = self._talk.entries
        for at in range(index - 1, max(-1, index - 20), -1):
            before = entries[at]
            if not before.is_notice and before.time is not None:
                return before.time.date() != entry.time.date()
        return True
