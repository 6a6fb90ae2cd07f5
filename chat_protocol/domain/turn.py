"""The reactor turn: everything that its events ask for is done once, at its end."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["Flushable", "Turn"]


class Flushable(Protocol):
    """Gathers bytes."""

    def flush(self) -> None:
        """Write what was gathered."""

    def abort(self) -> None:
        """End the connection: it could not be flushed."""


class _State(Enum):
    IDLE = auto()
    SCHEDULED = auto()
    """The end of the turn was requested; a delayed call is due for it."""
    READING = auto()
    """Between :meth:`Turn.__enter__` and :meth:`Turn.__exit__`."""
    DUE = auto()
    """READING, and the end of the turn was requested."""
    ENDING = auto()
    REPEATED = auto()
    """ENDING, and the end of the next turn was requested."""


class Turn:
    """Calls :attr:`end` once at the end of a reactor turn in which that was requested.

    A turn is what one reader of sockets or one Backlog does at a time, or all else that the reactor
    does until the next delayed call.

    Args:
        clock: schedules the end of a turn in which no reader marks it.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._state = _State.IDLE
        self._call: IDelayedCall | None = None
        self._with_deliveries: list[Flushable] = []
        self._with_answers: list[Flushable] = []
        self.end: Callable[[], None] = _nothing

    @property
    def ending(self) -> bool:
        """Whether :attr:`end` is being called."""
        return self._state in (_State.ENDING, _State.REPEATED)

    def request(self) -> None:
        """Have :attr:`end` called when all events of this turn are handled."""
        state = self._state
        if state is _State.READING:
            self._state = _State.DUE
        elif state is _State.ENDING:
            self._state = _State.REPEATED
        elif state is _State.IDLE:
            # The reactor makes this call after all sockets of this turn, without another poll.
            self._call = self._clock.callLater(0, self._end)
            self._state = _State.SCHEDULED

    def answering(self, output: Flushable) -> None:
        """Have an output flushed that has answers."""
        self._with_answers.append(output)
        if self._state is not _State.ENDING:
            self.request()

    def delivering(self, output: Flushable) -> None:
        """Have an output flushed that has deliveries."""
        self._with_deliveries.append(output)
        if self._state is not _State.ENDING:
            self.request()

    def flush(self) -> None:
        """Flush the outputs. Those with deliveries come first, so a message goes out before its OK.

        The exception is a sender that gets a delivery itself in the same turn.
        """
        while self._with_deliveries or self._with_answers:
            outputs = self._with_deliveries + self._with_answers
            self._with_deliveries, self._with_answers = [], []
            for output in outputs:
                try:
                    output.flush()
                except Exception:
                    self._log.failure("A connection failed while it was written to")
                    output.abort()

    def __enter__(self) -> None:
        """Begin a turn: its events follow."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
            self._state = _State.DUE
        else:
            self._state = _State.READING

    def __exit__(self, *exception: object) -> None:
        if self._state is _State.DUE:
            self._end()
        else:
            self._state = _State.IDLE

    def cancel(self) -> None:
        """Drop everything that was requested."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
            self._state = _State.IDLE
        self._with_deliveries.clear()
        self._with_answers.clear()

    def _end(self) -> None:
        self._call = None
        self._state = _State.ENDING
        try:
            self.end()
        finally:
            again = self._state is _State.REPEATED or self._with_deliveries or self._with_answers
            self._state = _State.IDLE
            if again:
                self.request()


def _nothing() -> None:
    """Do nothing: the end of a turn before the exchange has set its own."""
