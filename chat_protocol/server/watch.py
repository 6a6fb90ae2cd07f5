"""Checks that are repeated at an interval."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

__all__ = ["Watch"]


class Watch:
    """Checks at an interval, from start to stop.

    Args:
        clock: times the checks.
    """

    interval = 1.0
    """Time between two checks, in seconds."""

    def __init__(self, clock: IReactorTime) -> None:
        self._loop = LoopingCall(self.check)
        self._loop.clock = clock

    def start(self) -> Deferred[LoopingCall]:
        """Start. Fires when stopped. Fails when a check raises an exception, which stops it."""
        return self._loop.start(self.interval, now=False)

    def stop(self) -> None:
        """Stop checking."""
        if self._loop.running:
            self._loop.stop()

    def check(self) -> Deferred[None] | None:
        """Override to check once. The next check waits for a Deferred that is returned."""
        raise NotImplementedError
