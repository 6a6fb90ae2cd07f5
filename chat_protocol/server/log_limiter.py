"""Refusals in the log: each kind a few times a minute, and how many there were, of whom."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

__all__ = ["LINES", "LINES_OF_ONE", "SECONDS", "LimitLog"]

LINES = 10
"""So many lines of a kind are written before the others are only counted."""

LINES_OF_ONE = 3
"""So many of these are one offender's: the others have room, too."""

SECONDS = 60.0
"""For how long; then it begins anew."""

_OFFENDERS = 100
"""So many are counted by name in that time, and _NAMED of them named at its end."""

_NAMED = 5


class _Connection(Protocol):
    """See ChatProtocol."""

    @property
    def peer(self) -> str: ...

    @property
    def whose(self) -> str: ...


class _Kind:
    __slots__ = ("lines", "since", "unwritten", "written")

    def __init__(self, since: float) -> None:
        self.since = since
        self.lines = 0
        self.written: Counter[str] = Counter()
        """The lines, by offender."""
        self.unwritten: Counter[str] = Counter()
        """What was only counted; under no name what is of more offenders than _OFFENDERS."""

    def count(self, who: str) -> None:
        if who not in self.unwritten and len(self.unwritten) >= _OFFENDERS:
            who = ""
        self.unwritten[who] += 1

    def offenders(self) -> str:
        """Those who did most of it."""
        named = [(who, count) for who, count in self.unwritten.most_common() if who]
        shown = [f"{who} ({count})" for who, count in named[:_NAMED]]
        if shown and len(self.unwritten) > len(shown):
            shown.append("others")
        return ", ".join(shown)


class LimitLog:
    """Writes lines of a few kinds, so that nobody can fill the disk with them.

    Args:
        clock: measures the minutes.
    """

    _log = Logger(namespace="chat_protocol.limits")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def write(
        self, kind: str, line: str, level: LogLevel = LogLevel.warn, whose: str = "", **values: Any
    ) -> None:
        """Write a line, or only count it.

        Args:
            kind: one of a few; never anything that a peer has chosen.
            line: a format for ``values``.
            whose: the offender, without what changes with each connection; empty: nobody's.
        """
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind(self._clock.seconds())
        if found.lines == LINES or (whose and found.written[whose] == LINES_OF_ONE):
            found.count(whose)
            return
        found.lines += 1
        found.written[whose] += 1
        self._log.emit(level, line, limit=kind, **values)
        seconds = round(SECONDS + found.since - self._clock.seconds())
        if found.lines == LINES:
            self._log.emit(
                level,
                "More of that kind ({limit}) are only counted for the next {seconds} s",
                limit=kind,
                seconds=seconds,
            )
        elif whose and found.written[whose] == LINES_OF_ONE:
            self._log.emit(
                level,
                "More of {whose} ({limit}) are only counted for the next {seconds} s",
                whose=whose,
                limit=kind,
                seconds=seconds,
            )

    def about(
        self,
        connection: _Connection,
        kind: str,
        line: str,
        level: LogLevel = LogLevel.warn,
        **values: Any,
    ) -> None:
        """The same about a connection, ``peer`` in the line."""
        self.write(kind, line, level, connection.whose, peer=connection.peer, **values)

    def look(self) -> None:
        """Begin anew where it is time, and say what was not written; to be called often."""
        now = self._clock.seconds()
        for kind, found in list(self._kinds.items()):
            if now - found.since >= SECONDS:
                del self._kinds[kind]
                if found.unwritten:
                    offenders = found.offenders()
                    self._log.warn(
                        "{count} more of that kind ({limit}) in {seconds:.0f} s{of}",
                        count=sum(found.unwritten.values()),
                        limit=kind,
                        seconds=now - found.since,
                        of=f": {offenders}" if offenders else "",
                    )
