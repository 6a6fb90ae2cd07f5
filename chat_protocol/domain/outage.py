"""Saying that something fails, once; and that it works again."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

__all__ = ["REMIND_SECONDS", "Outage"]

REMIND_SECONDS = 60.0
"""For what still fails, a line of the log in that time."""


class Outage:
    """When something began to fail, which is tried again and again, and who was told when.

    Args:
        clock: the time.
    """

    __slots__ = ("_clock", "_said", "_since")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._since: float | None = None
        self._said = 0.0

    def failed(self) -> bool:
        """It failed; whether that is news: it did not before, or was not said for a minute."""
        now = self._clock.seconds()
        if self._since is None:
            self._since = now
        elif now - self._said < REMIND_SECONDS:
            return False
        self._said = now
        return True

    def over(self) -> float | None:
        """It worked; the seconds that it had not, or None if it worked before, too."""
        since, self._since = self._since, None
        return None if since is None else self._clock.seconds() - since
