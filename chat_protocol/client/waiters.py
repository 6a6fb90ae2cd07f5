"""Deferreds that wait for the same event."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

__all__ = ["PendingFailure", "Waiters"]

T = TypeVar("T")

PendingFailure = tuple[Deferred[Any], Exception]
"""A waiting Deferred and the error that it is about to fail with."""


class Waiters(Generic[T]):
    """Deferreds in the order in which they began to wait.

    Each can be canceled at any time, even in the callback of another. A Deferred added while the
    others fire waits for the next event.
    """

    def __init__(self) -> None:
        self._waiting: dict[Deferred[T], None] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def wait(self) -> Deferred[T]:
        """Add a Deferred and return it."""
        waiting: Deferred[T] = Deferred(self._discard)
        self._waiting[waiting] = None
        return waiting

    def pop(self) -> Deferred[T]:
        """Remove and return the Deferred that has waited longest."""
        first = next(iter(self._waiting))
        del self._waiting[first]
        return first

    def pop_all(self) -> list[Deferred[T]]:
        """Remove and return all Deferreds."""
        waiting, self._waiting = self._waiting, {}
        return list(waiting)

    def fire(self, result: T) -> None:
        """Fire all Deferreds with a result."""
        for deferred in self.pop_all():
            if not deferred.called:
                deferred.callback(result)

    def _discard(self, cancelled: Deferred[T]) -> None:
        self._waiting.pop(cancelled, None)
