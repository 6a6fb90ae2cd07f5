"""The end of a reactor turn: what was gathered in it is stored and written then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Turn"]


class Flushable(Protocol):
    """Something that gathers bytes."""

    @property
    def gathered(self) -> bool:
        """Whether there is anything to write."""

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
        self._open = False
        """Within events after which the turn ends at once."""
        self._asked = False
        self._ending = False
        self._dirty: list[Flushable] = []
        self._delivering: list[Flushable] = []
        self.store: Callable[[], None] = _nothing
        self.answer: Callable[[], None] = _nothing
        self.check: Callable[[], None] = _nothing
        """Comes before everything else."""

    def request(self) -> None:
        """Have the end of this turn come when its events are handled."""
        if self._open:
            self._asked = True
        elif self._call is None:
            # Zero seconds from now comes after all sockets of this turn, without another poll.
            self._call = self._clock.callLater(0, self._end)

    def dirty(self, output: Flushable) -> None:
        """``output`` has bytes to write."""
        self._dirty.append(output)
        if not self._ending:
            self.request()

    def delivering(self, output: Flushable) -> None:
        """``output`` has messages to write, before anybody is answered."""
        self._delivering.append(output)
        if not self._ending:
            self.request()

    def __enter__(self) -> None:
        """Events follow, all that this turn has."""
        self._open = True

    def __exit__(self, *exception: object) -> None:
        """They are handled: the turn ends here."""
        self._open = False
        if self._asked:
            self._asked = False
            if self._call is not None:
                self._call.cancel()
            self._end()

    def cancel(self) -> None:
        """Forget what was asked for."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._dirty.clear()
        self._delivering.clear()

    def _end(self) -> None:
        self._call = None
        self._ending = True
        try:
            self.check()
            self.store()
            delivering, self._delivering = self._delivering, []
            for output in delivering:
                output.flush()
            self.answer()
            dirty, self._dirty = self._dirty, []
            if delivering:
                written = set(delivering)
                self._dirty += [one for one in dirty if one in written and one.gathered]
                dirty = [output for output in dirty if output not in written]
            for output in dirty:
                output.flush()
        finally:
            self._ending = False
            if self._dirty or self._delivering:
                self.request()


def _nothing() -> None:
    """Nothing is attached."""
