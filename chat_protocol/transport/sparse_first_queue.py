"""A queue in which keys that ask for little do not wait for those that ask for much.

Deficit round robin with the sparse flows first, as in RFC 8290, section 4.2. There a flow is sparse
until its queue is empty for the first time. Here it is sparse as long as its credit lasts, because
somebody who waits for each answer has an empty queue after each item.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from chat_protocol.domain.fair_queue import FairQueue

__all__ = ["SparseFirstQueue"]

T = TypeVar("T")

_SPARSE_AT_ONCE = 3
"""Items of sparse keys that come before one of the others: many sparse keys stop nobody."""

_KEYS = 16384
"""Keys whose credit is remembered. With more, all have full credit again."""


class SparseFirstQueue(Generic[T]):
    """Items by key. Each item has a cost, which is taken from the credit of its key.

    An item that the credit pays for comes before those of keys whose credit is used up. They are
    served in turn, and have full credit again when they were.

    Args:
        credit: of each key at first.
    """

    def __init__(self, credit: int) -> None:
        self._credit = credit
        self._credits: dict[Hashable, int] = {}
        """Keys with less than full credit."""
        self._sparse: FairQueue[T] = FairQueue()
        self._others: FairQueue[tuple[Hashable, T]] = FairQueue()
        self._served = 0
        """Items of sparse keys since the last one of the others."""

    def __bool__(self) -> bool:
        return bool(self._sparse or self._others)

    def push(self, key: Hashable, item: T, cost: int) -> None:
        """Append an item."""
        left = self._credits.get(key, self._credit) - cost
        if left < 0:
            self._others.push(key, (key, item))
            return
        if len(self._credits) >= _KEYS:
            self._credits.clear()
        self._credits[key] = left
        self._sparse.push(key, item)

    def pop(self) -> T:
        """Remove the next item, and return it. IndexError: there is none."""
        if self._sparse and (self._served < _SPARSE_AT_ONCE or not self._others):
            self._served += 1
            return self._sparse.pop()
        self._served = 0
        key, item = self._others.pop()
        self._credits.pop(key, None)
        return item
