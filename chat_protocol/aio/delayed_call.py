"""One call that an asyncio event loop makes later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

__all__ = ["DelayedCall"]


@implementer(IDelayedCall)
class DelayedCall:
    """IDelayedCall over a timer of an event loop.

    Args:
        loop: makes the call.
        delay: seconds from now.
        function: what is called.
        ended: called with this object before the call, or when it is canceled.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        delay: float,
        function: Callable[[], object],
        ended: Callable[[DelayedCall], object],
    ) -> None:
        self._loop = loop
        self._function = function
        self._ended = ended
        self._called = False
        self._cancelled = False
        self._handle = self._schedule(delay)

    def _schedule(self, delay: float) -> asyncio.Handle:
        self._time = self._loop.time() + delay
        if delay <= 0:
            # Unlike timers of the same time, these calls keep their order.
            return self._loop.call_soon(self._call)
        return self._loop.call_later(delay, self._call)

    def _call(self) -> None:
        self._called = True
        self._ended(self)
        self._function()

    def getTime(self) -> float:
        """Return when the call is due, by the clock of the loop."""
        return self._time

    def cancel(self) -> None:
        """Do not make the call.

        Raises:
            AlreadyCalled, AlreadyCancelled: it is too late for that.
        """
        self._check_active()
        self._cancelled = True
        self._handle.cancel()
        self._ended(self)

    def delay(self, seconds: float) -> None:
        """Make the call later than it is due now; see :meth:`cancel` for errors."""
        self.reset(self._time + seconds - self._loop.time())

    def reset(self, seconds: float) -> None:
        """Make the call so many seconds from now; see :meth:`cancel` for errors."""
        self._check_active()
        self._handle.cancel()
        self._handle = self._schedule(seconds)

    def active(self) -> bool:
        """Return whether the call is still to be made."""
        return not (self._called or self._cancelled)

    def _check_active(self) -> None:
        if self._cancelled:
            raise AlreadyCancelled
        if self._called:
            raise AlreadyCalled
