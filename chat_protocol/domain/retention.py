"""Messages up to a certain age: what is older is forgotten, in steps that nobody notices."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.errors import Unavailable
from chat_protocol.interfaces import IStore

__all__ = ["Retention"]

LOOK_SECONDS = 60.0
"""Between two looks for what is too old."""

_SHARE = 0.1
"""Of the store's time that steps may take while there is work."""

_LEAST_PAUSE = 0.02
"""Seconds between two steps."""


class Retention:
    """Has a store forget what is older than a certain age.

    Args:
        store: an open one.
        clock: times the steps.
        wall_clock: nanoseconds since the epoch.
        age: seconds.
    """

    log = Logger()

    def __init__(
        self, store: IStore, clock: IReactorTime, wall_clock: Callable[[], int], age: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._age = age
        self._pause: Deferred[None] | None = None
        self._working: Deferred[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin; what goes wrong is logged."""
        self._working = Deferred.fromCoroutine(self._work()).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("Old messages are not forgotten any more", failure)

    async def stop(self) -> None:
        """Begin no more steps; returns when the last one is done."""
        self._stopping = True
        if self._pause is not None:
            self._pause.cancel()
        if self._working is not None:
            await self._working

    async def _work(self) -> None:
        steps = 0
        refused = False
        while not self._stopping:
            began = self._clock.seconds()
            try:
                more = await self._store.forget(max(0, self._wall_clock() - int(self._age * 10**9)))
                refused = False
            except Unavailable as error:
                more = False
                if not refused:
                    self.log.warn("Cannot forget old messages: {reason}", reason=error.detail)
                refused = True
            steps += 1
            if more:
                took = self._clock.seconds() - began
                await self._wait(max(_LEAST_PAUSE, took / _SHARE - took))
                continue
            if steps > 1:
                self.log.info("Forgot messages that were too old, in {steps} steps", steps=steps)
            steps = 0
            await self._wait(LOOK_SECONDS)

    async def _wait(self, seconds: float) -> None:
        if self._stopping:
            return
        self._pause = deferLater(self._clock, seconds)
        with suppress(CancelledError):
            await self._pause
        self._pause = None
