"""A queue that serves keys in turn, so that no key waits for the items of another one."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items by key: :meth:`pop` takes the oldest item of each key in turn (round robin)."""

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def push(self, key: Hashable, item: T) -> None:
        """Append an item."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
        queue.append(item)

    def pop(self) -> T:
        """Remove the next item, and return it. IndexError: there is none."""
        if not self._queues:
            raise IndexError("the queue is empty")
        key = next(iter(self._queues))
        queue = self._queues.pop(key)
        item = queue.popleft()
        if queue:
            # Behind the other keys.
            self._queues[key] = queue
        return item

    def clear(self) -> None:
        """Remove all items."""
        self._queues.clear()
