"""Deferreds that wait for the same thing."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

__all__ = ["Ending", "Waiters"]

T = TypeVar("T")

Ending = tuple[Deferred[Any], Exception]
"""Somebody who waits in vain, and what is to be told them."""


class Waiters(Generic[T]):
    """Deferreds in the order in which they began to wait.

    Each can be cancelled at any moment, in the callback of another one too. Who begins to wait
    while the others are told waits for the next time.
    """

    def __init__(self) -> None:
        self._waiting: dict[Deferred[T], None] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def wait(self) -> Deferred[T]:
        """One more."""
        waiting: Deferred[T] = Deferred(self._forget)
        self._waiting[waiting] = None
        return waiting

    def pop(self) -> Deferred[T]:
        """The one that waits longest; it waits here no more."""
        first = next(iter(self._waiting))
        del self._waiting[first]
        return first

    def take(self) -> list[Deferred[T]]:
        """All; they wait here no more."""
        taken, self._waiting = self._waiting, {}
        return list(taken)

    def succeed(self, result: T) -> None:
        """All fire."""
        for one in self.take():
            if not one.called:
                one.callback(result)

    def _forget(self, cancelled: Deferred[T]) -> None:
        self._waiting.pop(cancelled, None)
