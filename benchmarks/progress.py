"""How far it is, on one line of a terminal."""

from __future__ import annotations

from time import monotonic
from typing import TextIO

__all__ = ["Progress"]

_WIDTH = 30


class Progress:
    """Silent where ``stream`` is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = stream.isatty()
        self._total = self._done = 0
        self._began = 0.0

    def begin(self, total: int) -> None:
        """So many steps are to come."""
        self._total = total
        self._began = monotonic()

    def step(self, words: str) -> None:
        """The next one begins."""
        self.show(self._done / self._total, words)
        self._done += 1

    def show(self, part: float, words: str) -> None:
        """A part of all, 0 to 1, and what is going on."""
        if not self._shown:
            return
        passed = monotonic() - self._began
        left = f", {passed / part * (1 - part) / 60:.0f} min left" if part else ""
        bar = "#" * int(part * _WIDTH)
        self._stream.write(f"\r\x1b[K[{bar:.<{_WIDTH}}] {part:4.0%} {words}{left}")
        self._stream.flush()

    def end(self) -> None:
        """Make room for what comes."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
