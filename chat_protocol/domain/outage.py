"""Outages: what fails repeatedly is reported once, then once a minute until it works again."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

__all__ = ["REMIND_SECONDS", "Outage"]

REMIND_SECONDS = 60.0
"""Time between two reports of the same outage."""


class Outage:
    """Tracks since when something fails, and when that was last reported.

    Args:
        clock: measures the outage and the time between reports.
    """

    __slots__ = ("_clock", "_reported", "_since")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._since: float | None = None
        self._reported = 0.0

    def failed(self) -> bool:
        """Note a failure; return whether to report it.

        True for the first failure of an outage, and again when REMIND_SECONDS have passed since
        the last report.
        """
        now = self._clock.seconds()
        if self._since is None:
            self._since = now
        elif now - self._reported < REMIND_SECONDS:
            return False
        self._reported = now
        return True

    def over(self) -> float | None:
        """Note a success; return how many seconds the outage lasted, None if there was none."""
        since, self._since = self._since, None
        return None if since is None else self._clock.seconds() - since
