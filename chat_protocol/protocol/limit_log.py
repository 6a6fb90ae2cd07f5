"""Refusals in the log: each kind a few times a minute, and how many there were."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

__all__ = ["LINES", "SECONDS", "LimitLog"]

LINES = 10
"""So many lines of a kind are written before the others are only counted."""

SECONDS = 60.0
"""For how long; then it begins anew."""


class _Kind:
    __slots__ = ("lines", "since", "unwritten")

    def __init__(self, since: float) -> None:
        self.since = since
        self.lines = 0
        self.unwritten = 0


class LimitLog:
    """Writes lines of a few kinds, so that nobody can fill the disk with them.

    Args:
        clock: measures the minutes.
    """

    _log = Logger(namespace="chat_protocol.limits")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def write(self, kind: str, line: str, level: LogLevel = LogLevel.warn, **values: Any) -> None:
        """Write a line, or only count it.

        Args:
            kind: one of a few; never anything that a peer has chosen.
            line: a format for ``values``.
        """
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind(self._clock.seconds())
        if found.lines == LINES:
            found.unwritten += 1
            return
        found.lines += 1
        self._log.emit(level, line, limit=kind, **values)
        if found.lines == LINES:
            self._log.emit(
                level,
                "More of that kind ({limit}) are only counted for the next {seconds} s",
                limit=kind,
                seconds=round(SECONDS + found.since - self._clock.seconds()),
            )

    def look(self) -> None:
        """Begin anew where it is time, and say what was not written; to be called often."""
        now = self._clock.seconds()
        for kind, found in list(self._kinds.items()):
            if now - found.since >= SECONDS:
                del self._kinds[kind]
                if found.unwritten:
                    self._log.warn(
                        "{count} more of that kind ({limit}) in {seconds:.0f} s",
                        count=found.unwritten,
                        limit=kind,
                        seconds=now - found.since,
                    )
