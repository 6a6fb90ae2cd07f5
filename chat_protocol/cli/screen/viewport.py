"""The visible rows of a conversation, and scrolling."""

from __future__ import annotations

from collections.abc import Iterator

from chat_protocol.cli.screen.capabilities import Capabilities, Row
from chat_protocol.cli.screen.conversations import Conversation
from chat_protocol.cli.screen.entries import Entry
from chat_protocol.cli.screen.rows import entry_rows, separator

__all__ = ["Viewport"]


class Viewport:
    """The rows of a conversation in a window of a given size.

    Only visible rows are rendered, from the last one upwards, so the cost does not depend on the
    length of the conversation.

    Args:
        conversation: scrolling changes its ``bottom`` and ``rows_hidden``.
        width: columns.
        height: rows.
        capabilities: the terminal's capabilities.
    """

    def __init__(
        self, conversation: Conversation, width: int, height: int, capabilities: Capabilities
    ) -> None:
        self._conversation = conversation
        self._width = max(1, width)
        self._height = max(1, height)
        self._capabilities = capabilities

    def rows(self) -> list[Row]:
        """Return the visible rows, at most as many as the window has."""
        rows = self._rows()
        if len(rows) < self._height and not self._conversation.at_end:
            # The window has grown and there is nothing above to fill it.
            self._down(self._height - len(rows))
            rows = self._rows()
        return rows

    def _rows(self) -> list[Row]:
        index, rows_hidden = self._bottom()
        rows: list[Row] = []
        for at in range(index, -1, -1):
            block = self._block(at)
            rows = block[: len(block) - rows_hidden] + rows
            rows_hidden = 0
            if len(rows) >= self._height:
                break
        return rows[-self._height :]

    def scroll(self, rows: int) -> bool:
        """Scroll down, or up if ``rows`` is negative.

        Returns:
            Whether the top was reached.
        """
        if rows < 0:
            return self._up(-rows)
        self._down(rows)
        return False

    def to_top(self) -> None:
        """Show the first loaded entry."""
        self._up(sum(1 for _ in self._above()))

    def _up(self, rows: int) -> bool:
        index, rows_hidden = self._bottom()
        if index < 0:
            return True
        # The new bottom row needs a full window of rows above it.
        seen: list[tuple[int, int]] = [(index, rows_hidden)]
        for place in self._above():
            seen.append(place)
            if len(seen) >= rows + self._height:
                break
        top = len(seen) < rows + self._height
        place = seen[max(0, min(rows, len(seen) - self._height))]
        self._show(*place)
        return top

    def _above(self) -> Iterator[tuple[int, int]]:
        """Yield the positions of the rows above the bottom, going up: entry and hidden rows."""
        index, rows_hidden = self._bottom()
        for at in range(index, -1, -1):
            size = len(self._block(at))
            first = rows_hidden + 1 if at == index else 0
            for row in range(first, size):
                yield at, row

    def _down(self, rows: int) -> None:
        conversation = self._conversation
        if conversation.bottom is None:
            return
        index, rows_hidden = self._bottom()
        while rows > 0:
            if rows_hidden:
                step = min(rows, rows_hidden)
                rows_hidden -= step
                rows -= step
            elif index + 1 < len(conversation.entries):
                index += 1
                rows_hidden = len(self._block(index))
            else:
                break
        self._show(index, rows_hidden)

    def _show(self, index: int, rows_hidden: int) -> None:
        conversation = self._conversation
        if index == len(conversation.entries) - 1 and not rows_hidden:
            conversation.bottom, conversation.rows_hidden = None, 0
            conversation.mark_read()
        else:
            conversation.bottom, conversation.rows_hidden = conversation.entries[index], rows_hidden

    def _bottom(self) -> tuple[int, int]:
        """Return the index of the last visible entry, and its rows below the window."""
        conversation = self._conversation
        if conversation.bottom is None:
            return len(conversation.entries) - 1, 0
        index = conversation.entries.index(conversation.bottom)
        # A wider window may have reduced the rows of the entry.
        return index, min(
            conversation.rows_hidden, len(self._block(index)) - 1
        ) if conversation.rows_hidden else 0

    def _block(self, index: int) -> list[Row]:
        """Return the rows of an entry, preceded by its day and new-message separators."""
        entry = self._conversation.entries[index]
        rows = entry_rows(entry, self._width, self._capabilities)
        above: list[Row] = []
        if self._begins_a_day(index, entry):
            assert entry.time is not None
            day = f"{entry.time:%A, %Y-%m-%d}"
            above.append(separator(day, self._width, self._capabilities, "class:day"))
        if self._conversation.new_from is entry and index > 0:
            above.append(separator("new", self._width, self._capabilities, "class:new"))
        return above + rows

    def _begins_a_day(self, index: int, entry: Entry) -> bool:
        if entry.time is None or entry.is_notice:
            return False
        entries = self._conversation.entries
        for at in range(index - 1, max(-1, index - 20), -1):
            before = entries[at]
            if not before.is_notice and before.time is not None:
                return before.time.date() != entry.time.date()
        return True
