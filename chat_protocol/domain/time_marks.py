"""Time marks: by what time the messages up to an offset were stored, whatever the clock does.

A store marks an offset now and then. A message is expired if a mark above it is old enough by the
clock. Times of marks never decrease. If the clock was behind for a while, and is set right later,
the messages of that time get the time of the mark before them; so they are kept longer, and nothing
that was stored before them expires with them.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

__all__ = ["MARK_SECONDS", "TimeMarks"]

MARK_SECONDS = 60
"""Precision in seconds of the times at which messages were stored."""

_SECOND = 10**9


class TimeMarks:
    """Decides when a store makes a mark, and with what time.

    Args:
        wall_clock: returns nanoseconds since the epoch.
    """

    log = Logger()

    def __init__(self, wall_clock: Callable[[], int]) -> None:
        self._wall_clock = wall_clock
        self._looked_at = 0
        """When a mark was last due, by the clock."""
        self._stored_at = 0
        """When messages were last stored; 0: that is not known."""
        self._latest = 0
        """Time of the last mark."""
        self._is_behind = False

    def load(self, latest: int) -> None:
        """Begin with the time of the last mark of the store; 0: there is none."""
        self._latest = latest

    def stored(self) -> None:
        """Note that messages are about to be stored."""
        self._stored_at = max(self._stored_at, self._wall_clock())

    def due(self, at_once: bool = False) -> int:
        """Return the time for a mark; 0: none is due.

        Args:
            at_once: whether it is due even if it is less than MARK_SECONDS since the last time.
        """
        now = self._wall_clock()
        if 0 <= now - self._looked_at < MARK_SECONDS * _SECOND and not at_once:
            return 0
        self._looked_at = now
        self._compare(now)
        self._latest = max(self._stored_at or now, self._latest)
        return self._latest

    def _compare(self, now: int) -> None:
        """Log that the clock is behind the last mark, once each time it falls behind."""
        behind = self._latest - now
        was_behind, self._is_behind = self._is_behind, behind > MARK_SECONDS * _SECOND
        if self._is_behind and not was_behind:
            self.log.warn(
                "The clock is {seconds:,} s behind the time at which messages were stored before."
                " Set the clock. With --retention, messages are kept longer by as much.",
                seconds=behind // _SECOND,
            )
