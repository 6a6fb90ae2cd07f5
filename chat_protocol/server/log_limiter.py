"""Limits of the log: a few lines of each kind a minute, then a summary of the others."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from chat_protocol.server.watch import Watch

__all__ = ["LINES", "LINES_OF_ONE", "SECONDS", "LogLimiter"]

LINES = 10
"""Lines of one kind that are written in SECONDS. The others are counted."""

LINES_OF_ONE = 3
"""Lines of one kind about one offender in SECONDS, so that there is room for others."""

SECONDS = 60.0
"""Time in seconds after which counting starts again."""

_OFFENDERS = 100
"""Offenders that are counted by name. The summary names _NAMED of them."""

_NAMED = 5


class _Connection(Protocol):
    """See Peer."""

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
        """Written lines, by offender."""
        self.unwritten: Counter[str] = Counter()
        """Counted lines, by offender. Offenders beyond _OFFENDERS share the empty name."""

    def count(self, who: str) -> None:
        if who not in self.unwritten and len(self.unwritten) >= _OFFENDERS:
            who = ""
        self.unwritten[who] += 1

    def offenders(self) -> str:
        """Return the names of those with the most lines."""
        named = [(who, count) for who, count in self.unwritten.most_common() if who]
        shown = [f"{who} ({count})" for who, count in named[:_NAMED]]
        if shown and len(self.unwritten) > len(shown):
            shown.append("others")
        return ", ".join(shown)


class LogLimiter(Watch):
    """Writes few lines of each kind, so that no peer can fill the disk with the log.

    Args:
        clock: measures SECONDS.
    """

    _log = Logger(namespace="chat_protocol.limits")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        super().__init__(clock)

    def write(
        self, kind: str, line: str, level: LogLevel = LogLevel.warn, whose: str = "", **values: Any
    ) -> None:
        """Write a line, or count it.

        Args:
            kind: one of a few constants, never a text that a peer can choose.
            line: a format for ``values``.
            whose: the offender, without what differs between its connections. Empty: there is none.
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
                "More of these ({limit}) are only counted for the next {seconds} s",
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
        """Write or count a line about a connection, which is ``{peer}`` in the line."""
        self.write(kind, line, level, connection.whose, peer=connection.peer, **values)

    def check(self) -> None:
        """Write a summary of each kind whose SECONDS are over."""
        now = self._clock.seconds()
        for kind, found in list(self._kinds.items()):
            if now - found.since >= SECONDS:
                del self._kinds[kind]
                if found.unwritten:
                    offenders = found.offenders()
                    self._log.warn(
                        "{count} more of these ({limit}) in {seconds:.0f} s{of}",
                        count=sum(found.unwritten.values()),
                        limit=kind,
                        seconds=now - found.since,
                        of=f": {offenders}" if offenders else "",
                    )
