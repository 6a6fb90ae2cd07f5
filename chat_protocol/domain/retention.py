"""Retention: expired messages are removed in short steps beside the other work of a store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.ports import IStore
from chat_protocol.errors import Unavailable

__all__ = ["Retention"]

LOOK_SECONDS = 60.0
"""Time between two searches for expired messages."""

_SHARE = 0.1
"""Share of the time that steps may take while there is more to remove."""

_LEAST_PAUSE = 0.02
"""Shortest time between two steps, in seconds."""


class Retention:
    """Has a store remove the messages that are older than a certain age.

    Args:
        store: an open store.
        clock: times the steps.
        wall_clock: returns nanoseconds since the epoch.
        age: seconds after which a message expires.
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
        """Start. A fault ends the removal and is logged."""
        self._working = Deferred.fromCoroutine(self._work()).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self.log.failure(
            "Retention met a fault: expired messages stay until the server is restarted", failure
        )

    async def stop(self) -> None:
        """Stop; return when the step under way is done."""
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
                    self.log.warn(
                        "Cannot remove expired messages: {reason}. The server retries every minute",
                        reason=error.detail,
                    )
                refused = True
            steps += 1
            if more:
                took = self._clock.seconds() - began
                await self._wait(max(_LEAST_PAUSE, took / _SHARE - took))
                continue
            if steps > 1:
                self.log.info("Removed expired messages in {steps} steps", steps=steps)
            steps = 0
            await self._wait(LOOK_SECONDS)

    async def _wait(self, seconds: float) -> None:
        if self._stopping:
            return
        self._pause = deferLater(self._clock, seconds)
        with suppress(CancelledError):
            await self._pause
        self._pause = None
