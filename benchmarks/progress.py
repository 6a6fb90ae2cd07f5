"""A progress bar on a terminal."""

from __future__ import annotations

from time import monotonic
from typing import TextIO

__all__ = ["Progress"]

_WIDTH = 30


class Progress:
    """Shows progress on one line; writes nothing if ``stream`` is not a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = stream.isatty()
        self._total = self._done = 0
        self._began = 0.0

    def begin(self, total: int) -> None:
        """Begin with ``total`` steps."""
        self._total = total
        self._began = monotonic()

    def step(self, words: str) -> None:
        """Show that the next step begins."""
        self.show(self._done / self._total, words)
        self._done += 1

    def show(self, part: float, words: str) -> None:
        """Show the completed part, 0 to 1, and a description of the current step."""
        if not self._shown:
            return
        passed = monotonic() - self._began
        left = f", {passed / part * (1 - part) / 60:.0f} min left" if part else ""
        bar = "#" * int(part * _WIDTH)
        self._stream.write(f"\r\x1b[K[{bar:.<{_WIDTH}}] {part:4.0%} {words}{left}")
        self._stream.flush()

    def end(self) -> None:
        """Clear the line."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
