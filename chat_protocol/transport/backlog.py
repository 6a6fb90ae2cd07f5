"""Work that connections have left over: a little of it is done in each reactor turn.

A connection handles a few frames at a time. If more have arrived, it is not read until the others
have had their turn.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chat_protocol.domain.fair_queue import FairQueue
from chat_protocol.domain.turn import Turn

__all__ = ["Backlog"]


class Backlog:
    """Calls what was left over in later turns, in turn for each user or address.

    Args:
        clock: schedules the turns.
        turn: ends after the calls of one turn.
        seconds: time for the calls of one turn. At least one is made.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, turn: Turn, seconds: float) -> None:
        self._clock = clock
        self._turn = turn
        self._seconds = seconds
        self._left: FairQueue[Callable[[], object]] = FairQueue()
        self._call: IDelayedCall | None = None

    def add(self, key: Hashable, work: Callable[[], object]) -> None:
        """Call ``work`` in a later turn.

        Args:
            key: the user or the address that the work is for.
            work: does a little; it adds itself again if something is left.
        """
        self._left.push(key, work)
        if self._call is None:
            self._call = self._clock.callLater(0, self._run)

    @property
    def idle(self) -> bool:
        """Whether nothing is left over."""
        return not self._left

    def cancel(self) -> None:
        """Drop everything."""
        self._left.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _run(self) -> None:
        clock = self._clock
        end = clock.seconds() + self._seconds
        with self._turn:
            while self._left:
                try:
                    self._left.pop()()
                except Exception:
                    self.log.failure("A connection failed")
                if clock.seconds() >= end:
                    break
        self._call = clock.callLater(0, self._run) if self._left else None
