"""The end of a reactor turn: what was gathered in it is stored and written then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Turn"]


class Flushable(Protocol):
    """Something that gathers bytes."""

    def flush(self) -> None:
        """Write what was gathered."""


class Turn:
    """Calls back once at the end of the reactor turn in which something was asked for.

    Order at the end of a turn: store what came in (``store``); write what is to be delivered;
    answer what is stored (``answer``); write the answers. So no sender is answered OK before
    the message was handed to a recipient who is on-line, and a server killed at any point
    between has told nobody of a message that is not there. A connection that was written to
    once in a turn waits for the next: one write per connection and turn.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._dirty: list[Flushable] = []
        self._written: set[Flushable] = set()
        self.store: Callable[[], None] = _nothing
        self.answer: Callable[[], None] = _nothing

    def request(self) -> None:
        """Have :meth:`_end` called when the events of this turn are handled."""
        if self._call is None:
            # Zero seconds from now comes after all sockets of this turn, without another poll.
            self._call = self._clock.callLater(0, self._end)

    def dirty(self, output: Flushable) -> None:
        """``output`` wants to be flushed; to be called once until that has happened."""
        self._dirty.append(output)
        if self._call is None:
            self.request()

    def cancel(self) -> None:
        """Forget what was asked for."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._dirty.clear()

    def _end(self) -> None:
        self._call = None
        self.store()
        self._flush()
        self.answer()
        self._flush()
        self._written.clear()
        if self._dirty:
            self.request()

    def _flush(self) -> None:
        dirty = self._dirty
        if not dirty:
            return
        self._dirty = []
        written = self._written
        for output in dirty:
            if output in written:
                self._dirty.append(output)
            else:
                written.add(output)
                output.flush()


def _nothing() -> None:
    """Nothing is attached."""
