"""Connections that are refused: not closed at once, for who is closed at once comes at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["TARPIT", "TARPIT_SECONDS", "Refused", "Tarpit", "TurnedAway"]

TARPIT = 1000
"""Connections that are kept; past that the oldest is closed."""

TARPIT_SECONDS = 1.0
"""For how long at least."""

_TICK = 0.02
_AT_ONCE = 10
"""So many are closed in a tick: they all come again."""


class Tarpit:
    """Keeps refused connections for a moment, without reading from them.

    Args:
        clock: measures the moment.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kept: deque[tuple[float, Callable[[], object]]] = deque()
        self._timer: IDelayedCall | None = None

    def add(self, close: Callable[[], object]) -> None:
        """Call ``close`` in a moment, or earlier when there are too many."""
        self._kept.append((self._clock.seconds() + TARPIT_SECONDS, close))
        if len(self._kept) > TARPIT:
            self._kept.popleft()[1]()
        if self._timer is None:
            self._timer = self._clock.callLater(TARPIT_SECONDS, self._look)

    def empty(self) -> None:
        """Close all of them now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._kept:
            self._kept.popleft()[1]()

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        for _ in range(_AT_ONCE):
            if not self._kept or self._kept[0][0] > now:
                break
            self._kept.popleft()[1]()
        if self._kept and self._timer is None:
            self._timer = self._clock.callLater(max(_TICK, self._kept[0][0] - now), self._look)


class Refused(Protocol):
    """A connection that is nobody's.

    Args:
        tarpit: keeps it.
    """

    transport: Any

    def __init__(self, tarpit: Tarpit) -> None:
        self._tarpit = tarpit

    def connectionMade(self) -> None:
        """See IProtocol."""
        self.transport.pauseProducing()
        self._tarpit.add(self._close)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See IProtocol."""
        self.transport = None

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()


class TurnedAway(Protocol):
    """A connection that is closed at once: TLS and the PROXY protocol cannot wrap None."""

    transport: Any

    def connectionMade(self) -> None:
        """See IProtocol."""
        self.transport.loseConnection()
