"""A call at regular intervals."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["RepeatedCall"]


class RepeatedCall:
    """Call a function again and again. LoopingCall would do, but it imports the global reactor.

    Args:
        clock: schedules the calls.
        function: what is called; it may stop or raise. Raising ends the calls.
    """

    def __init__(self, clock: IReactorTime, function: Callable[[], object]) -> None:
        self._clock = clock
        self._function = function
        self._call: IDelayedCall | None = None
        self._running = False
        self.interval = 0.0
        """Seconds between two calls."""

    def start(self, interval: float) -> None:
        """Make the first call after ``interval`` seconds."""
        self.interval = interval
        self._running = True
        self._call = self._clock.callLater(interval, self._run)

    def stop(self) -> None:
        """Make no further call."""
        self._running = False
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _run(self) -> None:
        self._call = None
        self._function()
        if self._running:
            self._call = self._clock.callLater(self.interval, self._run)
