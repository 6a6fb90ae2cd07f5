"""Rejected connections. Most are closed later, because their clients would reconnect at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["REJECTED", "REJECTED_SECONDS", "ClosedAtOnce", "ClosedLater", "RejectedConnections"]

REJECTED = 1000
"""Rejected connections that are kept open. Above it the oldest one is closed."""

REJECTED_SECONDS = 1.0
"""Shortest time in seconds until a rejected connection is closed."""

_TICK = 0.02
_AT_ONCE = 10
"""Connections that are closed in one tick, because all their clients reconnect."""


class RejectedConnections:
    """Closes rejected connections after REJECTED_SECONDS. Until then it does not read from them.

    Args:
        clock: times the closing.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kept: deque[tuple[float, Callable[[], object]]] = deque()
        self._timer: IDelayedCall | None = None

    def close_later(self, close: Callable[[], object]) -> None:
        """Call ``close`` after REJECTED_SECONDS, or earlier if there are more than REJECTED."""
        self._kept.append((self._clock.seconds() + REJECTED_SECONDS, close))
        if len(self._kept) > REJECTED:
            self._kept.popleft()[1]()
        if self._timer is None:
            self._timer = self._clock.callLater(REJECTED_SECONDS, self._close_due)

    def close_all(self) -> None:
        """Close all of them now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._kept:
            self._kept.popleft()[1]()

    def _close_due(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        for _ in range(_AT_ONCE):
            if not self._kept or self._kept[0][0] > now:
                break
            self._kept.popleft()[1]()
        if self._kept and self._timer is None:
            delay = max(_TICK, self._kept[0][0] - now)
            self._timer = self._clock.callLater(delay, self._close_due)


class ClosedLater(Protocol):
    """A connection that is closed after REJECTED_SECONDS.

    Args:
        rejected: closes it.
    """

    transport: Any

    def __init__(self, rejected: RejectedConnections) -> None:
        self._rejected = rejected

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self._rejected.close_later(self._close)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.transport = None

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()


class ClosedAtOnce(Protocol):
    """A connection that is closed at once.

    A factory that TLS or the PROXY protocol wraps cannot return None in place of a protocol.
    """

    transport: Any

    def connectionMade(self) -> None:
        self.transport.loseConnection()
